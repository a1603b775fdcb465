// The CUDA runtime's functions for capturing streams.
#include "api/entry_point.h"
#include "process/thread_state.h"
#include "streams/capture.h"
#include "streams/stream_handle.h"

ENTRY_POINT(cudaStreamBeginCapture, WORKS_ON_DEVICE,
            (cudaStream_t handle, enum cudaStreamCaptureMode mode), (handle, mode))
{
    struct stream *stream;
    streams_lock();
    cudaError_t error = stream_find(handle, &stream);
    if (error == cudaSuccess) error = capture_begin(stream, mode);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaStreamEndCapture, WORKS_ON_DEVICE, (cudaStream_t handle, cudaGraph_t *graph),
            (handle, graph))
{
    if (graph == NULL) return cudaErrorInvalidValue;
    struct stream *stream;
    streams_lock();
    cudaError_t error = stream_find(handle, &stream);
    if (error == cudaSuccess) error = capture_end(stream, graph);
    streams_unlock();
    return error;
}

static enum cudaStreamCaptureStatus status_of(const struct stream *stream)
{
    if (stream->capture == NULL) return cudaStreamCaptureStatusNone;
    return stream->capture->is_invalidated ? cudaStreamCaptureStatusInvalidated
                                           : cudaStreamCaptureStatusActive;
}

ENTRY_POINT(cudaStreamIsCapturing, WORKS_ON_DEVICE,
            (cudaStream_t handle, enum cudaStreamCaptureStatus *status), (handle, status))
{
    if (status == NULL) return cudaErrorInvalidValue;
    struct stream *stream;
    streams_lock();
    cudaError_t error = stream_find(handle, &stream);
    if (error == cudaSuccess) error = capture_check_legacy(stream, false);
    if (error == cudaSuccess) *status = status_of(stream);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaThreadExchangeStreamCaptureMode, NEEDS_DEVICE, (enum cudaStreamCaptureMode * mode),
            (mode))
{
    if (mode == NULL || (unsigned int)*mode > cudaStreamCaptureModeRelaxed) {
        return cudaErrorInvalidValue;
    }
    enum cudaStreamCaptureMode previous = thread_state.capture_mode;
    thread_state.capture_mode = *mode;
    *mode = previous;
    return cudaSuccess;
}

ENTRY_POINT(cudaGraphDestroy, NEEDS_DEVICE, (cudaGraph_t graph), (graph))
{
    streams_lock();
    cudaError_t error = graph_destroy(graph);
    streams_unlock();
    return error;
}
