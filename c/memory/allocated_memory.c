// Allocated memory: CUDA memory where it was asked for, then pinned system memory, then non-pinned
// system memory; and the bytes in any of them.

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "cuda/stream.h"
#include "memory/allocation.h"
#include "memory/byte_copy.h"
#include "memory/cuda_memory.h"
#include "memory/lifecycle_lock.h"
#include "memory/pinned_memory.h"
#include "memory/refusal.h"
#include "memory/stream_ordered.h"
#include "message.h"
#include "whole_number.h"

enum { CUDA_MEMCPY_DEFAULT = 4 };

// ---- Allocating and freeing

// Host memory, after what the CUDA pool refused; null where it was not asked.
static int32_t fall_back(struct memory_location *location, double byte_size, double device_id,
                         const struct refusal *cuda, bool may_wait)
{
    struct refusal pinned;
    bool is_served = pinned_memory_take(location, byte_size, true, may_wait, &pinned);
    if (cuda == NULL && pinned.status == POOL_OK) return MEMORY_OK;
    const struct fallback fallback = {.byte_size = byte_size,
                                      .device_id = device_id,
                                      .cuda = cuda,
                                      .pinned = pinned.status == POOL_OK ? NULL : &pinned,
                                      .has_tried_nonpinned = true};
    return is_served ? fallback_report_success(&fallback) : fallback_report_failure(&fallback);
}

int32_t allocated_memory_alloc(struct memory_location *location, double byte_size,
                               double memory_type, double device_id)
{
    if (memory_type != MEMORY_GPU) return fall_back(location, byte_size, device_id, NULL, true);
    struct pool_block block;
    struct refusal cuda;
    cuda.status = deferred_free_pool_alloc(cuda_memory_pool(device_id), whole_number(byte_size),
                                           &block, &cuda.full);
    if (__builtin_expect(cuda.status != POOL_OK, 0)) {
        return fall_back(location, byte_size, device_id, &cuda, true);
    }
    *location = memory_location_of(block, byte_size, MEMORY_GPU, device_id);
    return MEMORY_OK;
}

int32_t allocated_memory_alloc_with(struct memory_location *location, double byte_size,
                                    double memory_type, double device_id,
                                    const struct memory_stream *stream, int32_t may_wait)
{
    const struct deferred_request request = {.stream = stream, .may_wait = may_wait};
    if (memory_type != MEMORY_GPU) return fall_back(location, byte_size, device_id, NULL, may_wait);
    struct pool_block block;
    struct refusal cuda;
    cuda.status = deferred_free_alloc(cuda_memory_pool(device_id), whole_number(byte_size),
                                      &request, &block, &cuda.full);
    if (cuda.status != POOL_OK) return fall_back(location, byte_size, device_id, &cuda, may_wait);
    *location = memory_location_of(block, byte_size, MEMORY_GPU, device_id);
    return MEMORY_OK;
}

static int32_t freed_already(double address, double device_id)
{
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx on GPU %.0f: it was freed already, behind the back "
                       "of its AllocatedMemory",
                       (unsigned long long)address, device_id);
}

int32_t allocated_memory_free(double address, double memory_type, double device_id,
                              double generation)
{
    if (memory_type != MEMORY_GPU) return pinned_memory_give(address, (int)memory_type, generation);
    struct pool *pool = cuda_memory_pool(device_id);
    enum pool_status status =
        deferred_free_pool_free(pool, whole_number(address), whole_number(generation));
    return __builtin_expect(status != POOL_NOT_ALLOCATED, 1) ? MEMORY_OK
                                                             : freed_already(address, device_id);
}

static int32_t free_after(const struct memory_location *location,
                          const struct memory_stream *stream)
{
    if (location->memory_type != MEMORY_GPU) return pinned_memory_give_after(location, stream);
    int32_t status =
        deferred_free_block(cuda_memory_pool(location->device_id), whole_number(location->address),
                            whole_number(location->generation), stream);
    return status == MEMORY_INVALID_ARG ? freed_already(location->address, location->device_id)
                                        : status;
}

int32_t allocated_memory_free_after(const struct memory_location *location,
                                    const struct memory_stream *stream)
{
    lifecycle_lock_shared();
    message_clear();
    int32_t status = free_after(location, stream);
    lifecycle_unlock();
    return status;
}

// ---- Moving bytes, under the shared lifecycle lock

static bool is_current(const struct memory_location *location)
{
    if (location->memory_type != MEMORY_GPU) {
        return pinned_memory_is_current((int)location->memory_type, location->generation);
    }
    return pool_generation(cuda_memory_pool(location->device_id)) ==
           whole_number(location->generation);
}

// What CUDA did on the null stream is done when this returns: its calls may return before.
static int32_t wait_for_null_stream(int device)
{
    return cudart_check(cudart.cudaStreamSynchronize(NULL), "cudaStreamSynchronize",
                        "work on GPU %d", device);
}

static int32_t copy_on_device(int device, void *target, const void *source, size_t byte_size)
{
    int saved_device;
    int32_t status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaMemcpy(target, source, byte_size, CUDA_MEMCPY_DEFAULT),
                          "cudaMemcpy", "copy %zu bytes on GPU %d", byte_size, device);
    if (status == MEMORY_OK) status = wait_for_null_stream(device);
    return cudart_leave_device(device, saved_device, status);
}

static int32_t queue_copy(const struct memory_stream *stream, void *target, const void *source,
                          size_t byte_size)
{
    int device = (int)stream->device_id;
    int saved_device;
    int32_t status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    int error = cudart.cudaMemcpyAsync(target, source, byte_size, CUDA_MEMCPY_DEFAULT,
                                       cuda_stream_handle(stream));
    status = cudart_check(error, "cudaMemcpyAsync", "queue a copy of %zu bytes on GPU %d",
                          byte_size, device);
    status = cudart_leave_device(device, saved_device, status);
    if (status == MEMORY_OK) return 1;
    // What is reported as failed must not be under way: its memory may be freed next.
    if (error == 0) (void)cudart.cudaStreamSynchronize(cuda_stream_handle(stream));
    return status;
}

// One side of a copy. Ordinary host memory has no location, and is nobody's to take away.
struct side {
    const struct memory_location *location;
    void *pointer;
};

static struct side side_of(const struct memory_location *location, double offset)
{
    return (struct side){
        location, (void *)(uintptr_t)(whole_number(location->address) + whole_number(offset))};
}

static bool is_gone(struct side side)
{
    return side.location != NULL && !is_current(side.location);
}

static bool is_on_gpu(struct side side)
{
    return side.location != NULL && side.location->memory_type == MEMORY_GPU;
}

static int32_t gone(const char *operation, double byte_size)
{
    return message_set(MEMORY_UNAVAILABLE,
                       "failed to %s %.0f bytes: the memory went when its manager was reset",
                       operation, byte_size);
}

// Between host memories at once, otherwise on the stream, or where that is null to the end.
static int32_t copy_locked(struct side target, struct side source, double byte_size,
                           const struct memory_stream *stream)
{
    if (is_gone(target) || is_gone(source)) return gone("copy", byte_size);
    size_t size = (size_t)byte_size;
    if (!is_on_gpu(target) && !is_on_gpu(source)) {
        if (target.location == NULL) {
            byte_copy_out(target.pointer, source.pointer, size);
        } else {
            byte_copy_in(target.pointer, source.pointer, size);
        }
        return MEMORY_OK;
    }
    if (stream != NULL) return queue_copy(stream, target.pointer, source.pointer, size);
    const struct side *on_gpu = is_on_gpu(target) ? &target : &source;
    return copy_on_device((int)on_gpu->location->device_id, target.pointer, source.pointer, size);
}

static int32_t copy(struct side target, struct side source, double byte_size,
                    const struct memory_stream *stream)
{
    lifecycle_lock_shared();
    message_clear();
    int32_t status = copy_locked(target, source, byte_size, stream);
    lifecycle_unlock();
    return status;
}

int32_t allocated_memory_check(const struct memory_location *location)
{
    message_clear();
    return is_current(location) ? MEMORY_OK : gone("look at", location->byte_size);
}

int32_t allocated_memory_write(const struct memory_location *target, double target_offset,
                               const void *source, double byte_size,
                               const struct memory_stream *stream)
{
    struct side ordinary = {NULL, (void *)(uintptr_t)source};
    return copy(side_of(target, target_offset), ordinary, byte_size, stream);
}

int32_t allocated_memory_read(const struct memory_location *source, double source_offset,
                              void *target, double byte_size, const struct memory_stream *stream)
{
    struct side ordinary = {NULL, target};
    return copy(ordinary, side_of(source, source_offset), byte_size, stream);
}

int32_t allocated_memory_copy(const struct memory_location *target, double target_offset,
                              const struct memory_location *source, double source_offset,
                              double byte_size, const struct memory_stream *stream)
{
    return copy(side_of(target, target_offset), side_of(source, source_offset), byte_size, stream);
}

static int32_t fill_on_device(int device, void *target, int byte, size_t byte_size)
{
    int saved_device;
    int32_t status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaMemset(target, byte, byte_size), "cudaMemset",
                          "fill %zu bytes on GPU %d", byte_size, device);
    if (status == MEMORY_OK) status = wait_for_null_stream(device);
    return cudart_leave_device(device, saved_device, status);
}

static int32_t fill_locked(struct side target, int32_t byte)
{
    double byte_size = target.location->byte_size;
    if (is_gone(target)) return gone("fill", byte_size);
    if (is_on_gpu(target)) {
        return fill_on_device((int)target.location->device_id, target.pointer, byte,
                              (size_t)byte_size);
    }
    memset(target.pointer, byte, (size_t)byte_size);
    return MEMORY_OK;
}

int32_t allocated_memory_fill(const struct memory_location *target, int32_t byte)
{
    lifecycle_lock_shared();
    message_clear();
    int32_t status = fill_locked(side_of(target, 0), byte);
    lifecycle_unlock();
    return status;
}
