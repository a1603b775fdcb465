#include "pool_model.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

void pool_model_open(struct pool_model *model, uint64_t base, uint64_t byte_size)
{
    *model = (struct pool_model){
        .base = base,
        .granule_count = byte_size / POOL_GRANULE_BYTE_SIZE,
    };
}

void pool_model_close(struct pool_model *model)
{
    free(model->blocks);
    *model = (struct pool_model){0};
}

uint64_t granules_of(uint64_t byte_size)
{
    return byte_size / POOL_GRANULE_BYTE_SIZE + (byte_size % POOL_GRANULE_BYTE_SIZE != 0);
}

// The number of live blocks that start below the granule.
static size_t count_below(const struct pool_model *model, uint64_t granule)
{
    size_t low = 0, high = model->block_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (model->blocks[middle].granule < granule) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void insert(struct pool_model *model, size_t index, struct model_block block)
{
    if (model->block_count == model->block_capacity) {
        model->block_capacity = model->block_capacity == 0 ? 64 : 2 * model->block_capacity;
        model->blocks = realloc(model->blocks, model->block_capacity * sizeof *model->blocks);
        CHECK(model->blocks != NULL, "no memory for the model");
    }
    struct model_block *place = &model->blocks[index];
    memmove(place + 1, place, (model->block_count - index) * sizeof *place);
    *place = block;
    model->block_count++;
}

const char *pool_model_add(struct pool_model *model, uint64_t address, uint64_t byte_size,
                           uint32_t owner)
{
    if (address % POOL_GRANULE_BYTE_SIZE != 0) return "a block is misaligned";
    if (address < model->base) return "a block lies below the pool";
    struct model_block block = {
        .granule = (address - model->base) / POOL_GRANULE_BYTE_SIZE,
        .granule_count = granules_of(byte_size),
        .owner = owner,
    };
    if (block.granule_count > model->granule_count ||
        block.granule > model->granule_count - block.granule_count) {
        return "a block reaches beyond the pool";
    }
    size_t index = count_below(model, block.granule);
    if (index > 0) {
        const struct model_block *previous = &model->blocks[index - 1];
        if (previous->granule + previous->granule_count > block.granule) {
            return "a block overlaps the one before it";
        }
    }
    if (index < model->block_count &&
        block.granule + block.granule_count > model->blocks[index].granule) {
        return "a block overlaps the one after it";
    }
    insert(model, index, block);
    model->used_granule_count += block.granule_count;
    if (model->used_granule_count > model->peak_used_granule_count) {
        model->peak_used_granule_count = model->used_granule_count;
    }
    return NULL;
}

struct model_block *pool_model_find(const struct pool_model *model, uint64_t address)
{
    uint64_t offset = address - model->base;
    if (address < model->base || offset % POOL_GRANULE_BYTE_SIZE != 0) return NULL;
    uint64_t granule = offset / POOL_GRANULE_BYTE_SIZE;
    size_t index = count_below(model, granule);
    bool is_found = index < model->block_count && model->blocks[index].granule == granule;
    return is_found ? &model->blocks[index] : NULL;
}

void pool_model_remove(struct pool_model *model, struct model_block *block)
{
    size_t index = (size_t)(block - model->blocks);
    model->used_granule_count -= block->granule_count;
    memmove(block, block + 1, (model->block_count - index - 1) * sizeof *block);
    model->block_count--;
}

uint64_t pool_model_address(const struct pool_model *model, size_t block_index)
{
    return model->base + model->blocks[block_index].granule * POOL_GRANULE_BYTE_SIZE;
}

uint64_t pool_model_largest_gap(const struct pool_model *model)
{
    uint64_t largest = 0, gap_start = 0;
    for (size_t i = 0; i <= model->block_count; i++) {
        uint64_t gap_end = i < model->block_count ? model->blocks[i].granule : model->granule_count;
        if (gap_end - gap_start > largest) largest = gap_end - gap_start;
        if (i < model->block_count) gap_start = gap_end + model->blocks[i].granule_count;
    }
    return largest;
}

struct pool_stats pool_model_stats(const struct pool_model *model)
{
    const uint64_t granule = POOL_GRANULE_BYTE_SIZE;
    return (struct pool_stats){
        .capacity_byte_size = model->granule_count * granule,
        .used_byte_size = model->used_granule_count * granule,
        .peak_used_byte_size = model->peak_used_granule_count * granule,
        .free_byte_size = (model->granule_count - model->used_granule_count) * granule,
        .largest_free_byte_size = pool_model_largest_gap(model) * granule,
        .allocation_count = model->block_count,
        .failed_allocation_count = model->failed_allocation_count,
    };
}
