// Converts a pool's statistics to those that callers of the library get.
#ifndef MEMORY_POOL_STATS_H
#define MEMORY_POOL_STATS_H

#include "bun_cuda_memory.h"
#include "pool/pool.h"

static inline struct memory_pool_stats memory_pool_stats_of(const struct pool_stats *stats)
{
    return (struct memory_pool_stats){
        .capacity_byte_size = (double)stats->capacity_byte_size,
        .used_byte_size = (double)stats->used_byte_size,
        .peak_used_byte_size = (double)stats->peak_used_byte_size,
        .free_byte_size = (double)stats->free_byte_size,
        .largest_free_byte_size = (double)stats->largest_free_byte_size,
        .allocation_count = (double)stats->allocation_count,
        .failed_allocation_count = (double)stats->failed_allocation_count,
    };
}

#endif
