// The simplest model of a pool: a list of its live blocks. It does not say where a block is put,
// only what must hold wherever that is.
#ifndef POOL_MODEL_H
#define POOL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/pool.h"

struct model_block {
    uint64_t granule; // the first, counted from the pool's base
    uint64_t granule_count;
    uint32_t owner;
    uint32_t tag;
};

struct pool_model {
    uint64_t base;
    uint64_t granule_count;
    struct model_block *blocks; // the live blocks, in address order
    size_t block_count;
    size_t block_capacity;
    uint64_t used_granule_count;
    uint64_t peak_used_granule_count;
    uint64_t failed_allocation_count;
};

void pool_model_open(struct pool_model *model, uint64_t base, uint64_t byte_size);

// Frees the model's own memory. A closed model may be opened again.
void pool_model_close(struct pool_model *model);

uint64_t granules_of(uint64_t byte_size);

// Adds a block that the pool has allocated. Returns why the pool must not have done so, or null.
const char *pool_model_add(struct pool_model *model, uint64_t address, uint64_t byte_size,
                           uint32_t owner);

// Returns the live block that starts at the address, or null. It is valid until a block is added or
// removed.
struct model_block *pool_model_find(const struct pool_model *model, uint64_t address);

void pool_model_remove(struct pool_model *model, struct model_block *block);

uint64_t pool_model_address(const struct pool_model *model, size_t block_index);

// The granule count of the largest gap, which is a run of granules that no live block has.
uint64_t pool_model_largest_gap(const struct pool_model *model);

// Returns what pool_read_stats() must return.
struct pool_stats pool_model_stats(const struct pool_model *model);

#endif
