// Copies between memories of all kinds, and fills them. All of it holds the lifecycle lock shared, so
// that no reset takes memory away that bytes are moved to or from.

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "cuda/known_stream.h"
#include "cuda/stream.h"
#include "memory/allocation.h"
#include "memory/byte_copy.h"
#include "memory/lifecycle_lock.h"
#include "message.h"
#include "whole_number.h"

enum { CUDA_MEMCPY_DEFAULT = 4 };

// What is named no stream works on the default stream, which somebody may have borrowed: an error of what was
// queued there is told by these calls too, and must not be lost to those who wait for it.

// CUDA's calls on the null stream may return before their work is done. It is done when this returns.
static enum memory_status wait_for_null_stream(int device)
{
    struct known_stream *asked = known_default_stream_begin_asking(device);
    int error = CUDART(cudaStreamSynchronize(NULL));
    known_default_stream_end_asking(asked, error, "cudaStreamSynchronize");
    return cudart_check(error, "cudaStreamSynchronize", "work on GPU %d", device);
}

static enum memory_status copy_on_device(int device, void *target, const void *source,
                                         size_t byte_size)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    struct known_stream *asked = known_default_stream_begin_asking(device);
    int error = CUDART(cudaMemcpy(target, source, byte_size, CUDA_MEMCPY_DEFAULT));
    known_default_stream_end_asking(asked, error, "cudaMemcpy");
    status = cudart_check(error, "cudaMemcpy", "copy %zu bytes on GPU %d", byte_size, device);
    if (status == MEMORY_OK) status = wait_for_null_stream(device);
    return device_scope_leave(&scope, status);
}

static enum memory_status queue_copy(const struct cuda_stream *stream, void *target,
                                     const void *source, size_t byte_size)
{
    int device = (int)stream->device_id;
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    int error;
    status = stream_check_in_scope(stream, &error);
    bool is_queued = false;
    if (status == MEMORY_OK) {
        error = CUDART(
            cudaMemcpyAsync(target, source, byte_size, CUDA_MEMCPY_DEFAULT, stream_handle(stream)));
        status = cudart_check(error, "cudaMemcpyAsync", "queue a copy of %zu bytes on GPU %d",
                              byte_size, device);
        is_queued = error == 0;
    }
    status = device_scope_leave(&scope, status);
    if (status == MEMORY_OK) return MEMORY_QUEUED;
    // What went wrong on the stream before is told to those who wait for that.
    if (error != 0) stream_note_error(whole_number(stream->id), error, "cudaMemcpyAsync");
    // A copy that is reported as failed must not be under way: its memory may be freed next.
    if (is_queued) (void)stream_synchronize_device(device);
    return status;
}

// One end of a copy. Ordinary host memory has no allocation, and no reset takes it away.
struct endpoint {
    const struct memory_allocation *allocation;
    void *pointer;
};

static struct endpoint endpoint_of(const struct memory_allocation *allocation, double offset)
{
    return (struct endpoint){
        allocation, (void *)(uintptr_t)(whole_number(allocation->address) + whole_number(offset))};
}

// Ordinary memory is always there.
static enum pool_status check(struct endpoint endpoint)
{
    return endpoint.allocation == NULL ? POOL_OK : allocation_check(endpoint.allocation);
}

static bool is_on_gpu(struct endpoint endpoint)
{
    return endpoint.allocation != NULL &&
           memory_type_of_place(endpoint.allocation->place) == MEMORY_GPU;
}

static enum memory_status gone(enum pool_status status, const char *operation, double byte_size)
{
    return message_set(MEMORY_UNAVAILABLE, "failed to %s %.0f bytes: the memory %s", operation,
                       byte_size,
                       status == POOL_CLOSED ? "went when its manager was reset"
                                             : "was freed, behind the back of its AllocatedMemory");
}

// Copies between host memories at once; otherwise on the stream or, where that is null, to the end.
static enum memory_status copy_locked(struct endpoint target, struct endpoint source,
                                      double byte_size, const struct cuda_stream *stream)
{
    enum pool_status target_status = check(target);
    if (target_status != POOL_OK) return gone(target_status, "copy", byte_size);
    enum pool_status source_status = check(source);
    if (source_status != POOL_OK) return gone(source_status, "copy", byte_size);
    size_t size = (size_t)byte_size;
    if (!is_on_gpu(target) && !is_on_gpu(source)) {
        if (target.allocation == NULL) {
            byte_copy_out(target.pointer, source.pointer, size);
        } else {
            byte_copy_in(target.pointer, source.pointer, size);
        }
        return MEMORY_OK;
    }
    if (stream != NULL) return queue_copy(stream, target.pointer, source.pointer, size);
    const struct endpoint *on_gpu = is_on_gpu(target) ? &target : &source;
    return copy_on_device((int)device_id_of_place(on_gpu->allocation->place), target.pointer,
                          source.pointer, size);
}

static enum memory_status copy(struct endpoint target, struct endpoint source, double byte_size,
                               const struct cuda_stream *stream)
{
    lifecycle_lock_shared();
    message_clear();
    enum memory_status status = copy_locked(target, source, byte_size, stream);
    lifecycle_unlock();
    return status;
}

enum memory_status allocated_memory_check(const struct memory_allocation *allocation)
{
    message_clear();
    enum pool_status status = allocation_check(allocation);
    return status == POOL_OK ? MEMORY_OK : gone(status, "look at", allocation->byte_size);
}

enum memory_status allocated_memory_write(const struct memory_allocation *target,
                                          double target_offset, const void *source,
                                          double byte_size, const struct cuda_stream *stream)
{
    struct endpoint ordinary = {NULL, (void *)(uintptr_t)source};
    return copy(endpoint_of(target, target_offset), ordinary, byte_size, stream);
}

enum memory_status allocated_memory_read(const struct memory_allocation *source,
                                         double source_offset, void *target, double byte_size,
                                         const struct cuda_stream *stream)
{
    struct endpoint ordinary = {NULL, target};
    return copy(ordinary, endpoint_of(source, source_offset), byte_size, stream);
}

enum memory_status allocated_memory_copy(const struct memory_allocation *target,
                                         double target_offset,
                                         const struct memory_allocation *source,
                                         double source_offset, double byte_size,
                                         const struct cuda_stream *stream)
{
    return copy(endpoint_of(target, target_offset), endpoint_of(source, source_offset), byte_size,
                stream);
}

static enum memory_status fill_on_device(int device, void *target, int byte, size_t byte_size)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    struct known_stream *asked = known_default_stream_begin_asking(device);
    int error = CUDART(cudaMemset(target, byte, byte_size));
    known_default_stream_end_asking(asked, error, "cudaMemset");
    status = cudart_check(error, "cudaMemset", "fill %zu bytes on GPU %d", byte_size, device);
    if (status == MEMORY_OK) status = wait_for_null_stream(device);
    return device_scope_leave(&scope, status);
}

static enum memory_status fill_locked(struct endpoint target, int32_t byte)
{
    double byte_size = target.allocation->byte_size;
    enum pool_status status = check(target);
    if (status != POOL_OK) return gone(status, "fill", byte_size);
    if (is_on_gpu(target)) {
        return fill_on_device((int)device_id_of_place(target.allocation->place), target.pointer,
                              byte, (size_t)byte_size);
    }
    memset(target.pointer, byte, (size_t)byte_size);
    return MEMORY_OK;
}

enum memory_status allocated_memory_fill(const struct memory_allocation *target, int32_t byte)
{
    lifecycle_lock_shared();
    message_clear();
    enum memory_status status = fill_locked(endpoint_of(target, 0), byte);
    lifecycle_unlock();
    return status;
}
