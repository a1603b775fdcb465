// The CUDA runtime's functions that move bytes.
//
// CUDA's documentation leaves open when some of them return. Those return when they were measured to
// return on an H100 with CUDA 13.0.
#include "api/entry_point.h"
#include "faults/faults.h"
#include "memory/staging.h"
#include "process/config.h"
#include "process/delay.h"
#include "streams/operation.h"
#include "streams/stream_handle.h"
#include "streams/stream_queue.h"

enum function_form {
    SYNCHRONOUS,
    // The function's name ends in Async. What it queues can be made to fail when it runs.
    ASYNCHRONOUS,
};

// Has the operation performed by the stream's worker or, if the call waits for it, by the calling
// thread.
static cudaError_t submit(cudaStream_t handle, struct operation *operation, enum function_form form,
                          bool is_awaited)
{
    struct stream *stream;
    streams_lock();
    cudaError_t error = stream_find_for_work(handle, &stream);
    if (error != cudaSuccess) {
        operation_clear(operation);
    } else {
        bool is_queued = form == ASYNCHRONOUS && stream->capture == NULL;
        if (is_queued) operation->fault = fault_site_hit(&async_transfers);
        error = is_awaited ? stream_perform(stream, operation) : stream_enqueue(stream, operation);
    }
    streams_unlock();
    return error;
}

// Whether the call waits until the copy is done.
static bool copy_is_awaited(const struct copy *copy, enum function_form form, cudaStream_t stream)
{
    switch (copy->path) {
    case COPY_DEVICE_TO_DEVICE:
        // No later work of either device may begin before a copy on a legacy stream is done, and
        // waiting for the copy sees to that.
        return is_between_devices(copy) && stream_is_legacy(stream);
    case COPY_DEVICE_AND_PINNED:
        return form == SYNCHRONOUS;
    case COPY_PAGEABLE_TO_DEVICE:
        return copy->staged == NULL;
    case COPY_DEVICE_TO_PAGEABLE:
    case COPY_HOST_TO_HOST:
        break;
    }
    return true;
}

static cudaError_t copy(void *destination, const void *source, size_t byte_size,
                        enum cudaMemcpyKind kind, cudaStream_t stream, enum function_form form)
{
    struct operation operation = {.kind = OPERATION_COPY,
                                  .delay_ns = delay_of_operation(byte_size)};
    struct copy *copy = &operation.copy;
    cudaError_t error = copy_prepare(destination, source, byte_size, kind, copy);
    if (error != cudaSuccess || byte_size == 0) return error;
    if (form == ASYNCHRONOUS && copy->path == COPY_PAGEABLE_TO_DEVICE) {
        copy->staged = staging_copy(source, byte_size);
    }
    return submit(stream, &operation, form, copy_is_awaited(copy, form, stream));
}

ENTRY_POINT(cudaMemcpy, WORKS_ON_DEVICE,
            (void *destination, const void *source, size_t byte_size, enum cudaMemcpyKind kind),
            (destination, source, byte_size, kind))
{
    return copy(destination, source, byte_size, kind, cudaStreamLegacy, SYNCHRONOUS);
}

ENTRY_POINT(cudaMemcpyAsync, WORKS_ON_DEVICE,
            (void *destination, const void *source, size_t byte_size, enum cudaMemcpyKind kind,
             cudaStream_t stream),
            (destination, source, byte_size, kind, stream))
{
    return copy(destination, source, byte_size, kind, stream, ASYNCHRONOUS);
}

ENTRY_POINT(cudaMemcpyPeerAsync, WORKS_ON_DEVICE,
            (void *destination, int destination_device, const void *source, int source_device,
             size_t byte_size, cudaStream_t stream),
            (destination, destination_device, source, source_device, byte_size, stream))
{
    if (byte_size != 0 &&
        (!config_has_device(destination_device) || !config_has_device(source_device))) {
        return cudaErrorInvalidDevice;
    }
    // The devices need not be looked at: an address says by itself which device it is on.
    return copy(destination, source, byte_size, cudaMemcpyDeviceToDevice, stream, ASYNCHRONOUS);
}

static cudaError_t fill(void *destination, int value, size_t byte_size, cudaStream_t stream,
                        enum function_form form)
{
    struct operation operation = {.kind = OPERATION_FILL,
                                  .delay_ns = delay_of_operation(byte_size)};
    cudaError_t error = fill_prepare(destination, value, byte_size, &operation.fill);
    if (error != cudaSuccess || byte_size == 0) return error;
    return submit(stream, &operation, form, form == SYNCHRONOUS && operation.fill.is_on_host);
}

ENTRY_POINT(cudaMemset, WORKS_ON_DEVICE, (void *device_pointer, int value, size_t byte_size),
            (device_pointer, value, byte_size))
{
    return fill(device_pointer, value, byte_size, cudaStreamLegacy, SYNCHRONOUS);
}

ENTRY_POINT(cudaMemsetAsync, WORKS_ON_DEVICE,
            (void *device_pointer, int value, size_t byte_size, cudaStream_t stream),
            (device_pointer, value, byte_size, stream))
{
    return fill(device_pointer, value, byte_size, stream, ASYNCHRONOUS);
}
