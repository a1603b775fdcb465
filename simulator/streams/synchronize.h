// Waiting for all that is queued on a stream or a device. The caller of a function here holds the
// lock of stream.h, which those that wait give up meanwhile.
#ifndef SYNCHRONIZE_H
#define SYNCHRONIZE_H

#include "cudart_abi.h"

// Waits until the stream is done, and reports its asynchronous error. The legacy default stream is
// done when all streams are that are ordered with it.
cudaError_t stream_synchronize(cudaStream_t handle);

// The same without waiting: cudaErrorNotReady when the stream is not done.
cudaError_t stream_query(cudaStream_t handle);

// Waits until all streams of the device are idle. The result is an error only when there is no
// memory, or when a sticky error has ended all work: no other asynchronous error is
// reported.
cudaError_t device_wait_idle(int device);

#endif
