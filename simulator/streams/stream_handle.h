// The handles of streams. The caller of a function here holds the lock of stream.h, unless the
// function's comment says otherwise.
#ifndef STREAM_HANDLE_H
#define STREAM_HANDLE_H

#include <stdbool.h>
#include <stddef.h>

#include "cudart_abi.h"
#include "streams/stream.h"

// Makes a stream of its own, and gives its handle.
cudaError_t stream_create(int device, enum stream_kind kind, cudaStream_t *handle);

// Ends the handle; the work that is queued goes on. The default streams cannot be destroyed.
cudaError_t stream_destroy(cudaStream_t handle);

// Finds the stream of a handle, which may be that of a default stream on the thread's current
// device.
cudaError_t stream_find(cudaStream_t handle, struct stream **stream);

// Whether the handle is one of the two of the legacy default stream. Also called without the lock.
bool stream_is_legacy(cudaStream_t handle);

// Number of the streams that were created and not destroyed.
size_t stream_count(void);

#endif
