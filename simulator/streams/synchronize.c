#include "streams/synchronize.h"

#include "streams/async_error.h"
#include "streams/capture.h"
#include "streams/stream_handle.h"
#include "streams/stream_order.h"

// Waits for the work of those of the device's streams that the filter accepts.
static cudaError_t wait_for_streams(int device, stream_filter *filter)
{
    struct sync_point_list points = {0};
    if (!stream_order_collect(device, filter, &points)) return cudaErrorMemoryAllocation;
    sync_point_list_wait(&points);
    sync_point_list_release(&points);
    return cudaSuccess;
}

static void wait_for_stream(struct stream *stream)
{
    struct sync_point point = sync_point_of(stream);
    sync_point_wait(&point);
    sync_point_release(&point);
}

cudaError_t stream_synchronize(cudaStream_t handle)
{
    struct stream *stream;
    cudaError_t error = stream_find(handle, &stream);
    if (error == cudaSuccess) error = capture_check_waiting(stream);
    if (error != cudaSuccess) return error;
    stream_keep(stream);
    uint64_t sequence = stream->queued_count;
    if (stream->kind == STREAM_LEGACY) error = wait_for_streams(stream->device, stream_is_ordered);
    else wait_for_stream(stream);
    if (error == cudaSuccess) error = async_error_report(stream, sequence);
    stream_release(stream);
    return error;
}

static bool has_unfinished_streams(int device, stream_filter *filter)
{
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        if (!stream_is_idle(stream) && filter(stream)) return true;
    }
    return false;
}

static bool has_work(const struct stream *stream)
{
    return stream->kind == STREAM_LEGACY ? has_unfinished_streams(stream->device, stream_is_ordered)
                                         : !stream_is_idle(stream);
}

cudaError_t stream_query(cudaStream_t handle)
{
    struct stream *stream;
    cudaError_t error = stream_find(handle, &stream);
    if (error != cudaSuccess) return error;
    error = sticky_error();
    if (error == cudaSuccess) error = capture_check_waiting(stream);
    if (error != cudaSuccess) return error;
    if (has_work(stream)) return cudaErrorNotReady;
    return async_error_report(stream, stream->queued_count);
}

static bool is_any(const struct stream *stream)
{
    (void)stream;
    return true;
}

cudaError_t device_wait_idle(int device)
{
    cudaError_t error = wait_for_streams(device, is_any);
    return error == cudaSuccess ? sticky_error() : error;
}
