// Allocated memory of an owner that the caller names: memory of other threads, for tests.
#ifndef OWNED_MEMORY_H
#define OWNED_MEMORY_H

#include <stddef.h>

#include "bun_cuda_memory.h"

static inline double origin_for(double origin, int32_t owner)
{
    return (double)((int64_t)origin / 65536 * 65536 + owner);
}

// A request that nothing serves is a failure for tests.
static inline enum memory_status served_or_failed(enum memory_status status)
{
    return status == MEMORY_NOTHING_SERVES ? MEMORY_OUT_OF_MEMORY : status;
}

static inline enum memory_status owned_memory_alloc(struct memory_allocation *allocation,
                                                    double byte_size, double memory_type,
                                                    double device_id, int32_t owner)
{
    *allocation = (struct memory_allocation){.owner = owner};
    return served_or_failed(
        allocated_memory_alloc(allocation, byte_size, memory_type + 4 * device_id));
}

static inline enum memory_status owned_memory_alloc_on_stream(struct memory_allocation *allocation,
                                                              double byte_size, double memory_type,
                                                              double device_id,
                                                              const struct cuda_stream *stream,
                                                              int32_t owner)
{
    *allocation = (struct memory_allocation){.owner = owner};
    double place = memory_type + 4 * device_id;
    enum memory_status status =
        stream == NULL
            ? allocated_memory_request(allocation, byte_size, place, 0)
            : allocated_memory_request_on_stream(allocation, byte_size, place, 0, stream);
    return served_or_failed(status);
}

static inline enum memory_status owned_memory_try_alloc(struct memory_allocation *allocation,
                                                        double byte_size, int32_t owner)
{
    *allocation = (struct memory_allocation){.owner = owner};
    return pinned_memory_try_alloc(allocation, byte_size);
}

static inline enum memory_type memory_type_of(const struct memory_allocation *allocation)
{
    return (enum memory_type)((int64_t)allocation->place & 3);
}

static inline enum memory_status owned_memory_free(const struct memory_allocation *allocation,
                                                   int32_t owner)
{
    return allocated_memory_free(allocation->address, allocation->place,
                                 origin_for(allocation->origin, owner));
}

static inline enum memory_status
owned_memory_free_on_stream(const struct memory_allocation *allocation,
                            const struct cuda_stream *stream, int32_t owner)
{
    struct memory_allocation owned = *allocation;
    owned.origin = origin_for(allocation->origin, owner);
    return allocated_memory_free_on_streams(&owned, stream, 1);
}

#endif
