// The CUDA runtime's functions for streams.
#include "api/entry_point.h"
#include "process/thread_state.h"
#include "streams/event.h"
#include "streams/stream_handle.h"
#include "streams/stream_queue.h"
#include "streams/synchronize.h"

static cudaError_t create(cudaStream_t *stream, enum stream_kind kind)
{
    if (stream == NULL) return cudaErrorInvalidValue;
    streams_lock();
    cudaError_t error = stream_create(thread_state.current_device, kind, stream);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaStreamCreate, WORKS_ON_DEVICE, (cudaStream_t * stream), (stream))
{
    return create(stream, STREAM_BLOCKING);
}

ENTRY_POINT(cudaStreamCreateWithFlags, WORKS_ON_DEVICE, (cudaStream_t * stream, unsigned int flags),
            (stream, flags))
{
    if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    return create(stream, flags == cudaStreamDefault ? STREAM_BLOCKING : STREAM_NON_BLOCKING);
}

ENTRY_POINT(cudaStreamDestroy, WORKS_ON_DEVICE, (cudaStream_t stream), (stream))
{
    streams_lock();
    cudaError_t error = stream_destroy(stream);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaStreamQuery, WORKS_ON_DEVICE, (cudaStream_t stream), (stream))
{
    streams_lock();
    cudaError_t error = stream_query(stream);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaStreamSynchronize, WORKS_ON_DEVICE, (cudaStream_t stream), (stream))
{
    streams_lock();
    cudaError_t error = stream_synchronize(stream);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaStreamWaitEvent, WORKS_ON_DEVICE,
            (cudaStream_t stream, cudaEvent_t event, unsigned int flags), (stream, event, flags))
{
    if (flags != cudaEventWaitDefault && flags != cudaEventWaitExternal)
        return cudaErrorInvalidValue;
    streams_lock();
    cudaError_t error = event_make_stream_wait(stream, event, flags == cudaEventWaitExternal);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaLaunchHostFunc, WORKS_ON_DEVICE,
            (cudaStream_t handle, cudaHostFn_t function, void *argument),
            (handle, function, argument))
{
    if (function == NULL) return cudaErrorInvalidValue;
    struct operation operation = {.kind = OPERATION_HOST_FUNCTION,
                                  .host_function = {function, argument}};
    struct stream *stream;
    streams_lock();
    cudaError_t error = stream_find_for_work(handle, &stream);
    if (error == cudaSuccess) error = stream_enqueue(stream, &operation);
    streams_unlock();
    return error;
}
