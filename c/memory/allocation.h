// The struct memory_allocation that callers of the library get.
#ifndef MEMORY_ALLOCATION_H
#define MEMORY_ALLOCATION_H

#include <stdbool.h>

#include "bun_cuda_memory.h"
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

// The kind of memory and its GPU in one number, and back.
static inline double place_of(double memory_type, double device_id)
{
    return memory_type + 4 * device_id;
}

static inline int32_t memory_type_of_place(double place)
{
    return (int64_t)place & 3;
}

static inline int64_t device_id_of_place(double place)
{
    return (int64_t)place >> 2;
}

// Fills in what was allocated for an owner, which the allocation names.
static inline void allocation_fill(struct memory_allocation *allocation, struct pool_block block,
                                   double byte_size, double place, uint32_t owner)
{
    allocation->address = from_whole_number(block.address);
    allocation->byte_size = byte_size;
    allocation->memory_type = memory_type_of_place(place);
    allocation->device_id = (double)device_id_of_place(place);
    allocation->origin = origin_of(block.generation, owner);
    allocation->place = place;
}

// Whether the manager that the memory is of has not been reset since.
bool allocation_is_current(const struct memory_allocation *allocation);

// Whether the memory is there and still its owner's, as a status of its pool: POOL_CLOSED where it
// went when its manager was reset, and POOL_NOT_ALLOCATED where it was freed.
enum pool_status allocation_check(const struct memory_allocation *allocation);

#endif
