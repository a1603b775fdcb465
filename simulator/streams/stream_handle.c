#include "streams/stream_handle.h"

#include "process/thread_state.h"
#include "streams/capture.h"
#include "streams/default_stream.h"
#include "streams/handle_table.h"

static struct handle_table handles;

cudaError_t stream_create(int device, enum stream_kind kind, cudaStream_t *handle)
{
    struct stream *stream = stream_new(device, kind);
    if (stream == NULL) return cudaErrorMemoryAllocation;
    void *added = handle_table_add(&handles, stream);
    if (added == NULL) {
        stream_release(stream);
        return cudaErrorMemoryAllocation;
    }
    *handle = added;
    return cudaSuccess;
}

cudaError_t stream_destroy(cudaStream_t handle)
{
    struct stream *stream = handle_table_remove(&handles, handle);
    if (stream == NULL) return cudaErrorInvalidResourceHandle;
    capture_abandon(stream);
    stream_close(stream);
    return cudaSuccess;
}

bool stream_is_legacy(cudaStream_t handle)
{
    return handle == NULL || handle == cudaStreamLegacy;
}

static cudaError_t find_default_stream(cudaStream_t handle, struct stream **stream)
{
    int device = thread_state.current_device;
    *stream =
        stream_is_legacy(handle) ? legacy_default_stream(device) : thread_default_stream(device);
    return *stream == NULL ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t stream_find(cudaStream_t handle, struct stream **stream)
{
    if (stream_is_legacy(handle) || handle == cudaStreamPerThread) {
        return find_default_stream(handle, stream);
    }
    *stream = handle_table_find(&handles, handle);
    return *stream == NULL ? cudaErrorInvalidResourceHandle : cudaSuccess;
}

size_t stream_count(void)
{
    return handles.count;
}
