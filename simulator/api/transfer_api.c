// The CUDA runtime's functions that move bytes.
//
// What CUDA documents leaves open when some of them return; there they do as an H100 with CUDA 13.0
// was measured to do.
#include "api/entry_point.h"
#include "faults/faults.h"
#include "memory/staging.h"
#include "process/config.h"
#include "process/delay.h"
#include "streams/operation.h"
#include "streams/stream_queue.h"

enum function_form {
    SYNCHRONOUS,
    // Its name ends in Async. What it queues can be made to fail when it runs.
    ASYNCHRONOUS,
};

// Has the operation performed by the stream's worker or, when the call is to wait for it, by the
// calling thread.
static cudaError_t submit(cudaStream_t handle, struct operation *operation, enum function_form form,
                          bool waits)
{
    struct stream *stream;
    streams_lock();
    cudaError_t error = stream_find_for_work(handle, &stream);
    if (error != cudaSuccess) {
        operation_clear(operation);
    } else {
        if (form == ASYNCHRONOUS) operation->fault = fault_site_hit(&async_transfers);
        error = waits ? stream_perform(stream, operation) : stream_queue(stream, operation);
    }
    streams_unlock();
    return error;
}

static bool copy_waits(const struct copy *copy, enum function_form form, cudaStream_t stream)
{
    switch (copy->path) {
    case COPY_DEVICE_TO_DEVICE: {
        // On a legacy stream no later work of either device may begin before it is done: waiting
        // for it sees to that.
        bool between_devices = (copy->devices & (copy->devices - 1)) != 0;
        return between_devices && stream_is_legacy(stream);
    }
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

static cudaError_t copy(void *destination, const void *source, size_t count,
                        enum cudaMemcpyKind kind, cudaStream_t stream, enum function_form form)
{
    struct operation operation = {.kind = OPERATION_COPY, .delay_ns = delay_of(count)};
    struct copy *copy = &operation.copy;
    cudaError_t error = copy_prepare(destination, source, count, kind, copy);
    if (error != cudaSuccess || count == 0) return error;
    if (form == ASYNCHRONOUS && copy->path == COPY_PAGEABLE_TO_DEVICE) {
        copy->staged = staging_take(source, count);
    }
    return submit(stream, &operation, form, copy_waits(copy, form, stream));
}

ENTRY_POINT(cudaMemcpy, WORKS_ON_DEVICE,
            (void *destination, const void *source, size_t count, enum cudaMemcpyKind kind),
            (destination, source, count, kind))
{
    return copy(destination, source, count, kind, cudaStreamLegacy, SYNCHRONOUS);
}

ENTRY_POINT(cudaMemcpyAsync, WORKS_ON_DEVICE,
            (void *destination, const void *source, size_t count, enum cudaMemcpyKind kind,
             cudaStream_t stream),
            (destination, source, count, kind, stream))
{
    return copy(destination, source, count, kind, stream, ASYNCHRONOUS);
}

static bool device_exists(int device)
{
    return device >= 0 && device < config_get()->device_count;
}

ENTRY_POINT(cudaMemcpyPeerAsync, WORKS_ON_DEVICE,
            (void *destination, int destination_device, const void *source, int source_device,
             size_t count, cudaStream_t stream),
            (destination, destination_device, source, source_device, count, stream))
{
    if (count != 0 && (!device_exists(destination_device) || !device_exists(source_device))) {
        return cudaErrorInvalidDevice;
    }
    // An address says by itself which device it is on.
    return copy(destination, source, count, cudaMemcpyDeviceToDevice, stream, ASYNCHRONOUS);
}

static cudaError_t fill(void *destination, int value, size_t count, cudaStream_t stream,
                        enum function_form form)
{
    struct operation operation = {.kind = OPERATION_FILL, .delay_ns = delay_of(count)};
    cudaError_t error = fill_prepare(destination, value, count, &operation.fill);
    if (error != cudaSuccess || count == 0) return error;
    return submit(stream, &operation, form, form == SYNCHRONOUS && operation.fill.on_host);
}

ENTRY_POINT(cudaMemset, WORKS_ON_DEVICE, (void *device_pointer, int value, size_t count),
            (device_pointer, value, count))
{
    return fill(device_pointer, value, count, cudaStreamLegacy, SYNCHRONOUS);
}

ENTRY_POINT(cudaMemsetAsync, WORKS_ON_DEVICE,
            (void *device_pointer, int value, size_t count, cudaStream_t stream),
            (device_pointer, value, count, stream))
{
    return fill(device_pointer, value, count, stream, ASYNCHRONOUS);
}
