// Allocated memory: CUDA memory where it was asked for, then pinned system memory, then non-pinned
// system memory.

#include <stdbool.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "memory/allocation.h"
#include "memory/cuda_memory.h"
#include "memory/lifecycle_lock.h"
#include "memory/pinned_memory.h"
#include "memory/refusal.h"
#include "memory/stream_ordered.h"
#include "message.h"
#include "whole_number.h"

// Allocates host memory. `cuda` is how the CUDA pool has refused, or null where it was not asked.
static enum memory_status alloc_on_host(struct memory_allocation *allocation, double byte_size,
                                        double device_id, int32_t owner, const struct refusal *cuda)
{
    struct refusal pinned;
    bool is_served = system_memory_alloc(allocation, byte_size, (uint32_t)owner, true, &pinned);
    if (cuda == NULL && pinned.status == POOL_OK) return MEMORY_OK;
    const struct refused_request request = {.byte_size = byte_size,
                                            .device_id = device_id,
                                            .cuda = cuda,
                                            .pinned = pinned.status == POOL_OK ? NULL : &pinned,
                                            .has_tried_nonpinned = true};
    return is_served ? refusal_report_fallback(&request) : refusal_report_failure(&request);
}

// Serves a request that the CUDA pool has refused from host memory.
static __attribute__((noinline)) enum memory_status
fall_back_from_cuda(struct memory_allocation *allocation, double byte_size, double device_id,
                    int32_t owner, struct refusal *cuda)
{
    cuda->why_closed = cuda_memory_why_closed();
    return alloc_on_host(allocation, byte_size, device_id, owner, cuda);
}

enum memory_status allocated_memory_alloc(struct memory_allocation *allocation, double byte_size,
                                          double memory_type, double device_id, int32_t owner)
{
    if (memory_type != MEMORY_GPU) {
        return alloc_on_host(allocation, byte_size, device_id, owner, NULL);
    }
    struct pool_block block;
    struct refusal cuda;
    cuda.status = stream_ordered_alloc_now(cuda_memory_pool(device_id), whole_number(byte_size),
                                           (uint32_t)owner, &block, &cuda.full);
    if (__builtin_expect(cuda.status != POOL_OK, 0)) {
        return fall_back_from_cuda(allocation, byte_size, device_id, owner, &cuda);
    }
    *allocation = memory_allocation_of(block, byte_size, MEMORY_GPU, device_id);
    return MEMORY_OK;
}

enum memory_status allocated_memory_alloc_on_stream(struct memory_allocation *allocation,
                                                    double byte_size, double memory_type,
                                                    double device_id,
                                                    const struct cuda_stream *stream, int32_t owner)
{
    if (memory_type != MEMORY_GPU) {
        return alloc_on_host(allocation, byte_size, device_id, owner, NULL);
    }
    struct pool_block block;
    struct refusal cuda;
    cuda.status = stream_ordered_alloc(cuda_memory_pool(device_id), whole_number(byte_size),
                                       (uint32_t)owner, stream, &block, &cuda.full);
    if (cuda.status != POOL_OK) {
        return fall_back_from_cuda(allocation, byte_size, device_id, owner, &cuda);
    }
    *allocation = memory_allocation_of(block, byte_size, MEMORY_GPU, device_id);
    return MEMORY_OK;
}

static enum memory_status freed_already(double address, double device_id)
{
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx on GPU %.0f: it was freed already, behind the back "
                       "of its AllocatedMemory",
                       (unsigned long long)address, device_id);
}

enum memory_status allocated_memory_free(double address, double memory_type, double device_id,
                                         double generation, int32_t owner)
{
    if (memory_type != MEMORY_GPU) {
        return system_memory_free(address, (int)memory_type, generation, (uint32_t)owner);
    }
    struct pool *pool = cuda_memory_pool(device_id);
    enum pool_status status = stream_ordered_free_now(pool, whole_number(address),
                                                      whole_number(generation), (uint32_t)owner);
    return __builtin_expect(status != POOL_NOT_ALLOCATED, 1) ? MEMORY_OK
                                                             : freed_already(address, device_id);
}

static enum memory_status free_on_stream(const struct memory_allocation *allocation,
                                         const struct cuda_stream *stream, uint32_t owner)
{
    if (allocation->memory_type != MEMORY_GPU) {
        return system_memory_free_on_stream(allocation, stream, owner);
    }
    enum memory_status status = stream_ordered_free(
        cuda_memory_pool(allocation->device_id), whole_number(allocation->address),
        whole_number(allocation->generation), owner, stream);
    return status == MEMORY_INVALID_ARG ? freed_already(allocation->address, allocation->device_id)
                                        : status;
}

enum memory_status allocated_memory_free_on_stream(const struct memory_allocation *allocation,
                                                   const struct cuda_stream *stream, int32_t owner)
{
    lifecycle_lock_shared();
    message_clear();
    enum memory_status status = free_on_stream(allocation, stream, (uint32_t)owner);
    lifecycle_unlock();
    return status;
}
