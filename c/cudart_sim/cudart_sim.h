// Control of the simulator from a test, beside the CUDA runtime's own functions.
//
// Every function here returns the number of a cudaError_t: 0, or why it did nothing. None of them
// touches the last error that cudaGetLastError reports, and all of them may be called from any
// thread. The simulated machine and its faults belong to the whole process.
//
// The environment is read once, at the first call into the library:
//
//   CUDART_SIM_DEVICES  "none", or the devices in order, each as compute capability and memory in
//                       bytes: 8.0:1073741824,9.0:85899345920. Not set or empty: 9.0:17179869184.
//   CUDART_SIM_FAULTS   calls that fail, each as function, call and error: cudaMalloc:2:2 is the
//                       process's second cudaMalloc failing with error 2. The error may also be
//                       a name: cudaMalloc:2:cudaErrorMemoryAllocation.
//
// If either is malformed, one line on stderr says why, and every call of both kinds returns
// cudaErrorInitializationError.
#ifndef CUDART_SIM_H
#define CUDART_SIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

// Makes the nth call of `function` from now, by whatever thread, return `error` and do nothing
// else; nth is 1 for the next call. It happens once. A second fault for the same call replaces the
// first.
//
// cudaErrorInvalidValue: the function is unknown or does not return an error, nth is 0, or the
// error is unknown or 0. cudaErrorMemoryAllocation: no memory to note the fault.
int cudartSimFailCall(const char *function, uint64_t nth, int error);

// Forgets all faults that have not happened yet, those of the environment included.
int cudartSimClearFaults(void);

// Gives the number of calls of `function` since the process started, failed ones included.
//
// cudaErrorInvalidValue: the function is unknown or does not return an error, or count is null.
int cudartSimGetCallCount(const char *function, uint64_t *count);

// Gives number and total size of the blocks that are allocated on a device and not freed, in the
// sizes asked for. cudaErrorInvalidDevice: no such device. cudaErrorInvalidValue: a null pointer.
int cudartSimGetLiveDeviceMemory(int device, uint64_t *block_count, uint64_t *byte_size);

// The same of pinned host memory.
int cudartSimGetLiveHostMemory(uint64_t *block_count, uint64_t *byte_size);

// Gives the number of the error with that name, such as cudaErrorMemoryAllocation.
//
// cudaErrorInvalidValue: a name the simulator does not know, or number is null.
int cudartSimGetErrorNumber(const char *name, int *number);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
