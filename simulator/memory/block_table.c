#include "memory/block_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// The number of blocks that start at or below the address.
static size_t count_up_to(const struct block_table *table, uintptr_t address)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->blocks[middle].start <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

const struct block *block_table_find(const struct block_table *table, uintptr_t address)
{
    size_t position = count_up_to(table, address);
    if (position == 0) return NULL;
    const struct block *block = &table->blocks[position - 1];
    return address - block->start < block->byte_size ? block : NULL;
}

const struct block *block_table_find_range(const struct block_table *table, uintptr_t address,
                                           size_t byte_size)
{
    const struct block *block = block_table_find(table, address);
    bool is_within = block != NULL && byte_size <= block->byte_size - (address - block->start);
    return is_within ? block : NULL;
}

static bool make_room(struct block_table *table)
{
    if (table->count < table->capacity) return true;
    size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
    struct block *grown = realloc(table->blocks, capacity * sizeof *grown);
    if (grown == NULL) return false;
    table->blocks = grown;
    table->capacity = capacity;
    return true;
}

bool block_table_insert(struct block_table *table, struct block block)
{
    assert(block.byte_size != 0);
    if (!make_room(table)) return false;
    size_t position = count_up_to(table, block.start);
    struct block *place = &table->blocks[position];
    assert(position == 0 || place[-1].start + place[-1].byte_size <= block.start);
    assert(position == table->count || block.start + block.byte_size <= place->start);
    memmove(place + 1, place, (table->count - position) * sizeof *place);
    *place = block;
    table->count++;
    table->byte_size += block.byte_size;
    return true;
}

bool block_table_remove(struct block_table *table, uintptr_t start, struct block *removed,
                        size_t *position)
{
    const struct block *found = block_table_find(table, start);
    if (found == NULL || found->start != start) return false;
    *removed = *found;
    *position = (size_t)(found - table->blocks);
    struct block *place = &table->blocks[*position];
    memmove(place, place + 1, (table->count - *position - 1) * sizeof *place);
    table->count--;
    table->byte_size -= removed->byte_size;
    return true;
}
