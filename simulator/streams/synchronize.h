// Waiting for all that is queued on a stream or a device. The caller of a function here holds the
// lock of stream.h, which those that wait give up meanwhile.
#ifndef SYNCHRONIZE_H
#define SYNCHRONIZE_H

#include "cudart_abi.h"

// Waits for what the stream has to do, and gives its late error. The legacy default stream has to
// do what the streams have to do that are ordered with it.
cudaError_t stream_synchronize(cudaStream_t handle);

// The same without waiting: cudaErrorNotReady when it is not done.
cudaError_t stream_query(cudaStream_t handle);

// Waits for all streams of the device. An error only when it cannot, or when an error has ended all
// work on the device: other late errors are left.
cudaError_t device_wait(int device);

#endif
