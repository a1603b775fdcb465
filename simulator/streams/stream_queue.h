// Queueing operations on streams, and performing them. Each stream on which anything was ever queued
// has a worker, a thread that performs what is queued.
//
// The caller of a function here holds the lock of stream.h; those that wait give it up meanwhile.
#ifndef STREAM_QUEUE_H
#define STREAM_QUEUE_H

#include "cudart_abi.h"
#include "streams/operation.h"
#include "streams/stream.h"

// Finds the stream that is to perform an operation, and waits until there is room in its queue. An
// error when there is no such stream, when a sticky error has ended all work, or
// when the stream is a legacy default stream that would wait for a stream that is being captured.
cudaError_t stream_find_for_work(cudaStream_t handle, struct stream **stream);

// Leaves the operation to the stream's worker, or to the stream's capture. Takes over what the operation holds, whatever the
// result.
cudaError_t stream_enqueue(struct stream *stream, struct operation *operation);

// Performs the operation in the calling thread when its turn has come, and reports the stream's
// asynchronous error. Takes over what the operation holds, whatever the result.
cudaError_t stream_perform(struct stream *stream, struct operation *operation);

#endif
