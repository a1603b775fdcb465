// What a pool has to be, in the simplest terms: a list of its live blocks. It says nothing of where
// a block is put, only what must hold wherever it is.
#ifndef POOL_MODEL_H
#define POOL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/pool.h"

struct model_block {
    uint64_t granule; // the first, counted from the pool's base
    uint64_t granule_count;
    uint32_t tag;
};

struct pool_model {
    uint64_t base;
    uint64_t granule_count;
    struct model_block *blocks; // the live ones, in address order
    size_t block_count;
    size_t block_capacity;
    uint64_t used_granule_count;
    uint64_t peak_used_granule_count;
    uint64_t failed_allocation_count;
};

void pool_model_open(struct pool_model *model, uint64_t base, uint64_t byte_size);

// Also frees the model's own memory; a closed model may be opened again.
void pool_model_close(struct pool_model *model);

uint64_t granules_of(uint64_t byte_size);

// Notes what the pool handed out. Null, or why it must not have.
const char *pool_model_add(struct pool_model *model, uint64_t address, uint64_t byte_size);

// The live block that starts at the address, until the next block is added or removed; or null.
struct model_block *pool_model_find(const struct pool_model *model, uint64_t address);

void pool_model_remove(struct pool_model *model, struct model_block *block);

uint64_t pool_model_address(const struct pool_model *model, size_t block_index);

// In granules.
uint64_t pool_model_largest_gap(const struct pool_model *model);

// What pool_coalesced_byte_size() has to give.
uint64_t pool_model_coalesced_byte_size(const struct pool_model *model, uint64_t address,
                                        pool_tag_predicate *counts_as_free, const void *context);

// What pool_read_stats() has to give.
struct pool_stats pool_model_stats(const struct pool_model *model);

#endif
