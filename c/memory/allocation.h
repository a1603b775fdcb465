// Where an allocation is, as the library's callers are told it.
#ifndef MEMORY_LOCATION_H
#define MEMORY_LOCATION_H

#include "bun_cuda_memory.h"
#include "pool/pool.h"
#include "whole_number.h"

static inline struct memory_location memory_location_of(struct pool_block block, double byte_size,
                                                        double memory_type, double device_id)
{
    return (struct memory_location){.address = from_whole_number(block.address),
                                    .byte_size = byte_size,
                                    .memory_type = memory_type,
                                    .device_id = device_id,
                                    .generation = from_whole_number(block.generation)};
}

#endif
