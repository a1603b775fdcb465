#include "memory/freed_uses.h"

#include <stddef.h>
#include <stdlib.h>

#include "cuda/event.h"
#include "memory/block_tags.h"

static bool has_stream(const struct freed_uses *uses, double stream_id)
{
    for (uint32_t i = 0; i < uses->count; i++) {
        if (uses->streams[i].id == stream_id) return true;
    }
    return false;
}

bool freed_uses_make(struct freed_uses *uses, uint64_t address, uint64_t generation,
                     const struct cuda_stream *streams, uint32_t stream_count)
{
    *uses = (struct freed_uses){.blocks = malloc(stream_count * sizeof *uses->blocks),
                                .streams = malloc(stream_count * sizeof *uses->streams)};
    if (uses->blocks == NULL || uses->streams == NULL) return false;
    for (uint32_t i = 0; i < stream_count; i++) {
        if (has_stream(uses, streams[i].id)) continue;
        struct freed_block *block = malloc(sizeof *block);
        if (block == NULL) return false;
        *block =
            (struct freed_block){.address = address, .generation = generation, .next_use = block};
        uses->streams[uses->count] = streams[i];
        uses->blocks[uses->count++] = block;
    }
    return true;
}

bool freed_uses_find_lists(struct freed_uses *uses, struct pool *pool)
{
    for (uint32_t i = 0; i < uses->count; i++) {
        uses->blocks[i]->list = freed_list_make(pool, (uint64_t)uses->streams[i].id);
        if (uses->blocks[i]->list == NULL) return false;
    }
    return true;
}

enum memory_status freed_uses_record(struct freed_uses *uses)
{
    for (uint32_t i = 0; i < uses->count; i++) {
        enum memory_status status = event_record(&uses->streams[i], &uses->blocks[i]->event);
        if (status != MEMORY_OK) return status;
    }
    return MEMORY_OK;
}

static void link_use(struct freed_block *block, struct freed_block *use)
{
    use->next_use = block->next_use;
    block->next_use = use;
}

void freed_uses_append(struct freed_uses *uses, struct freed_block *reused)
{
    struct freed_block *first = uses->blocks[0];
    for (uint32_t i = 0; i < uses->count; i++) {
        struct freed_block *block = uses->blocks[i];
        block->tag = first->tag;
        block->byte_size = first->byte_size;
        block->account = first->account;
        freed_block_append(block->list, block);
        freed_block_withhold(block);
        if (block != first) link_use(first, block);
    }
    uses->is_appended = true;
    if (reused == NULL) return;
    block_tag_release(reused->tag);
    reused->tag = first->tag;
    freed_block_set_pending(reused);
    freed_block_withhold(reused);
    link_use(first, reused);
}

void freed_uses_give_up(struct freed_uses *uses)
{
    for (uint32_t i = 0; i < uses->count && !uses->is_appended; i++) {
        if (uses->blocks[i]->event != NULL) event_release(uses->blocks[i]->event);
        free(uses->blocks[i]);
    }
    free(uses->blocks);
    free(uses->streams);
}

bool freed_use_has_others(const struct freed_block *block)
{
    return block->next_use != block;
}

void freed_use_leave(struct freed_block *block)
{
    struct freed_block *previous = block->next_use;
    while (previous->next_use != block) previous = previous->next_use;
    previous->next_use = block->next_use;
    block->next_use = block;
    block_tag_assign(block->tag, previous);
    block->tag = 0;
}
