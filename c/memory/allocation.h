// The struct memory_allocation that callers of the library get.
#ifndef MEMORY_ALLOCATION_H
#define MEMORY_ALLOCATION_H

#include <stdbool.h>

#include "bun_cuda_memory.h"
#include "memory/place.h"
#include "pool/pool.h"
#include "whole_number.h"

enum { ORIGIN_OWNER_BITS = 16 };

static inline double origin_of(uint64_t generation, uint32_t owner)
{
    return from_whole_number(generation << ORIGIN_OWNER_BITS | owner);
}

static inline uint64_t generation_of(double origin)
{
    return whole_number(origin) >> ORIGIN_OWNER_BITS;
}

static inline uint32_t owner_of_origin(double origin)
{
    return whole_number(origin) & ((1 << ORIGIN_OWNER_BITS) - 1);
}

// Whether somebody else owns the memory. Then its origin has neither a generation nor an owner.
static inline bool is_borrowed(const struct memory_allocation *allocation)
{
    return allocation->origin < 0;
}

// Where the block begins that the memory is, or is a part of.
static inline uint64_t block_address_of(const struct memory_allocation *allocation)
{
    return whole_number(allocation->address - allocation->block_offset);
}

// Fills in what was allocated for an owner, which the allocation names.
static inline void allocation_fill(struct memory_allocation *allocation, struct pool_block block,
                                   double byte_size, double place, uint32_t owner)
{
    allocation->address = from_whole_number(block.address);
    allocation->byte_size = byte_size;
    allocation->place = place;
    allocation->origin = origin_of(block.generation, owner);
}

// Whether the manager that the memory is of has not been reset since.
bool allocation_is_current(const struct memory_allocation *allocation);

// Whether the memory is there and still its owner's, as a status of its pool: POOL_CLOSED where it
// went when its manager was reset, and POOL_NOT_ALLOCATED where it was freed.
enum pool_status allocation_check(const struct memory_allocation *allocation);

#endif
