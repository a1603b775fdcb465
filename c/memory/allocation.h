// The struct memory_allocation that callers of the library get.
#ifndef MEMORY_ALLOCATION_H
#define MEMORY_ALLOCATION_H

#include <stdbool.h>

#include "bun_cuda_memory.h"
#include "pool/pool.h"
#include "whole_number.h"

static inline struct memory_allocation memory_allocation_of(struct pool_block block,
                                                            double byte_size, double memory_type,
                                                            double device_id)
{
    return (struct memory_allocation){.address = from_whole_number(block.address),
                                      .byte_size = byte_size,
                                      .memory_type = memory_type,
                                      .device_id = device_id,
                                      .generation = from_whole_number(block.generation)};
}

// Whether the manager that the memory is of has not been reset since.
bool allocation_is_current(const struct memory_allocation *allocation);

// Whether the memory is there and the calling thread's, as a status of its pool: POOL_CLOSED where it
// went when its manager was reset, and POOL_NOT_ALLOCATED where it was freed.
enum pool_status allocation_check(const struct memory_allocation *allocation);

#endif
