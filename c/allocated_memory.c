// Allocated memory: CUDA memory where it was asked for, then pinned system memory, then non-pinned
// system memory; and the bytes in any of them.

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "cuda_memory.h"
#include "cudart.h"
#include "fallback.h"
#include "lifecycle_lock.h"
#include "message.h"
#include "pinned_memory.h"
#include "whole_number.h"

enum { CUDA_MEMCPY_DEFAULT = 4 };

// ---- Allocating and freeing

int32_t allocated_memory_alloc(struct memory_location *location, double byte_size,
                               double memory_type, double device_id)
{
    struct refusal cuda;
    cuda.status = POOL_OK;
    if (memory_type == MEMORY_GPU) {
        struct pool_block block;
        cuda.status =
            pool_alloc(cuda_memory_pool(device_id), whole_number(byte_size), &block, &cuda.full);
        if (__builtin_expect(cuda.status == POOL_OK, 1)) {
            *location = (struct memory_location){.address = from_whole_number(block.address),
                                                 .byte_size = byte_size,
                                                 .memory_type = MEMORY_GPU,
                                                 .device_id = device_id,
                                                 .generation = from_whole_number(block.generation)};
            return MEMORY_OK;
        }
    }
    struct refusal pinned;
    bool is_served = pinned_memory_take(location, byte_size, true, &pinned);
    if (cuda.status == POOL_OK && pinned.status == POOL_OK) return MEMORY_OK;
    const struct fallback fallback = {.byte_size = byte_size,
                                      .device_id = device_id,
                                      .cuda = cuda.status == POOL_OK ? NULL : &cuda,
                                      .pinned = pinned.status == POOL_OK ? NULL : &pinned,
                                      .has_tried_nonpinned = true};
    return is_served ? fallback_report_success(&fallback) : fallback_report_failure(&fallback);
}

int32_t allocated_memory_free(double address, double memory_type, double device_id,
                              double generation)
{
    if (memory_type != MEMORY_GPU) return pinned_memory_give(address, (int)memory_type, generation);
    struct pool *pool = cuda_memory_pool(device_id);
    enum pool_status status = pool_free(pool, whole_number(address), whole_number(generation));
    if (__builtin_expect(status != POOL_NOT_ALLOCATED, 1)) return MEMORY_OK;
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx on GPU %.0f: it was freed already, behind the back "
                       "of its AllocatedMemory",
                       (unsigned long long)address, device_id);
}

// ---- Moving bytes, under the shared lifecycle lock

static bool is_gpu(const struct memory_location *location)
{
    return location->memory_type == MEMORY_GPU;
}

static bool is_current(const struct memory_location *location)
{
    if (!is_gpu(location)) {
        return pinned_memory_is_current((int)location->memory_type, location->generation);
    }
    return pool_generation(cuda_memory_pool(location->device_id)) ==
           (uint64_t)location->generation;
}

static void *at(const struct memory_location *location, double offset)
{
    return (void *)(uintptr_t)((uint64_t)location->address + (uint64_t)offset);
}

static int32_t copy_on_device(int device, void *target, const void *source, size_t byte_size)
{
    int saved_device;
    int32_t status = cudart_get_device(&saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_set_device(device);
    if (status == MEMORY_OK) {
        status = cudart_check(cudart.cudaMemcpy(target, source, byte_size, CUDA_MEMCPY_DEFAULT),
                              "cudaMemcpy", "copy %zu bytes on GPU %d", byte_size, device);
    }
    if (status == MEMORY_OK) {
        // cudaMemcpy may return before the bytes are on the device.
        status = cudart_check(cudart.cudaStreamSynchronize(NULL), "cudaStreamSynchronize",
                              "copy %zu bytes on GPU %d", byte_size, device);
    }
    int32_t restored = cudart_set_device(saved_device);
    return status != MEMORY_OK ? status : restored;
}

// Null stands for ordinary host memory, which is nobody's to take away.
static int32_t copy(const struct memory_location *target_location, void *target,
                    const struct memory_location *source_location, const void *source,
                    double byte_size)
{
    if ((target_location != NULL && !is_current(target_location)) ||
        (source_location != NULL && !is_current(source_location))) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to copy %.0f bytes: the memory went when its manager was reset",
                           byte_size);
    }
    const struct memory_location *on_gpu = NULL;
    if (target_location != NULL && is_gpu(target_location)) {
        on_gpu = target_location;
    } else if (source_location != NULL && is_gpu(source_location)) {
        on_gpu = source_location;
    }
    if (on_gpu != NULL) {
        return copy_on_device((int)on_gpu->device_id, target, source, (size_t)byte_size);
    }
    memmove(target, source, (size_t)byte_size);
    return MEMORY_OK;
}

int32_t allocated_memory_write(const struct memory_location *target, double target_offset,
                               const void *source, double byte_size)
{
    lifecycle_lock_shared();
    message_clear();
    int32_t status = copy(target, at(target, target_offset), NULL, source, byte_size);
    lifecycle_unlock();
    return status;
}

int32_t allocated_memory_read(const struct memory_location *source, double source_offset,
                              void *target, double byte_size)
{
    lifecycle_lock_shared();
    message_clear();
    int32_t status = copy(NULL, target, source, at(source, source_offset), byte_size);
    lifecycle_unlock();
    return status;
}

int32_t allocated_memory_copy(const struct memory_location *target, double target_offset,
                              const struct memory_location *source, double source_offset,
                              double byte_size)
{
    lifecycle_lock_shared();
    message_clear();
    int32_t status = copy(target, at(target, target_offset), source, at(source, source_offset),
                          byte_size);
    lifecycle_unlock();
    return status;
}
