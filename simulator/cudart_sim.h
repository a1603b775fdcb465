// Control of the simulator from a test, beside the CUDA runtime's own functions.
//
// Every function here returns the number of a cudaError_t: 0, or why it did nothing. None of them
// changes the last error that cudaGetLastError reports, and all of them may be called from any
// thread. The simulated machine and its faults belong to the whole process.
//
// The environment is read once, at the first call into the library:
//
//   CUDART_SIM_DEVICES  "none", or the devices in order, each as compute capability and memory in
//                       bytes: 8.0:1073741824,9.0:85899345920. Where it is not set or empty, the
//                       machine has one device, 9.0:17179869184.
//   CUDART_SIM_FAULTS   calls that fail, each as function, call and error: cudaMalloc:2:2 is the
//                       process's second cudaMalloc failing with error 2. The error may also be
//                       a name: cudaMalloc:2:cudaErrorMemoryAllocation. In place of a function,
//                       "operation" stands for what cudartSimFailOperation makes fail.
//   CUDART_SIM_NS_PER_BYTE, CUDART_SIM_OPERATION_NS
//                       the arguments of a first cudartSimSetDelay, as decimal numbers such as
//                       0.05. Where one is not set or empty, it is 0.
//
//   CUDA_VISIBLE_DEVICES
//                       is obeyed as CUDA does: a list of device numbers, or of UUIDs or their
//                       beginnings, that gives the devices and their order, and that ends at what is
//                       no device of the machine. Device n has the UUID
//                       GPU-51000nnn-0000-4000-8000-000000000nnn, where nnn is n as a hexadecimal
//                       number. A device that is named twice is cudaErrorInvalidDevice for every
//                       call that needs one.
//
// If one of the first is malformed, one line on stderr says why, and every call of both kinds returns
// cudaErrorInitializationError.
//
// Work is asynchronous as on a GPU. Each stream is a queue, and a thread of the simulator performs
// what is in it, one operation after the other: the bytes of a copy are read and written when its
// turn comes, after its delay, and not when it is queued. The functions return when CUDA's do:
//
//   - cudaMemcpyAsync and cudaMemsetAsync return at once, with these exceptions. A copy from host
//     memory to host memory, pinned or not, and a copy to pageable host memory return when they are
//     done. A copy from pageable host memory returns when its bytes are in staging memory, which is
//     at once while there is room for them, and otherwise when it is done.
//   - cudaMemcpy returns when it is done, except from device to device, and cudaMemset at once,
//     except on pinned memory. Both are work of the legacy default stream.
//   - A copy on a legacy default stream from one device to another returns when it is done.
//   - cudaFree returns when the device whose memory it frees is idle, cudaFreeHost when all devices
//     are. Destroying a stream or an event does not wait, and what is queued is still done.
//
// The legacy default stream of a device, blocking and non-blocking streams, a thread's own default
// streams and events order work as CUDA documents. cudaErrorNotReady does not become the last
// error. A host function that calls a function that works on a device gets cudaErrorNotPermitted.
// A process ends without waiting for what is queued. A process that has used the simulator must not
// fork and go on using it in the child.
#ifndef CUDART_SIM_H
#define CUDART_SIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The most nanoseconds that cudartSimSetDelay accepts for a byte, and for an operation: a second.
#define CUDART_SIM_DELAY_NS_MAX 1000000000

#pragma GCC visibility push(default)

// Sets one of the variables above, as if it were in the environment with that value, for programs
// whose environment is not what C's getenv() sees. Called before every other function.
//
// cudaErrorInvalidValue: there is no such variable, or a null pointer for its name.
// cudaErrorSetOnActiveProcess: the variables have been read, and this one had another value.
// cudaErrorMemoryAllocation: no memory to note it.
int cudartSimSetVariable(const char *name, const char *value);

// Makes the nth call of `function` from now, by whatever thread, return `error` and do nothing
// else; nth is 1 for the next call. It happens once, but for a sticky error, which ends all work of
// the process as below. A second fault for the same call replaces the first.
//
// cudaErrorInvalidValue: the function is unknown or does not return an error, nth is 0, or the
// error is unknown or 0. cudaErrorMemoryAllocation: no memory to note the fault.
int cudartSimFailCall(const char *function, uint64_t nth, int error);

// Makes the nth copy or memset from now fail that a function whose name ends in Async puts on a
// stream, by whatever thread; nth is 1 for the next. The operation takes as long as otherwise, and
// moves no bytes. A copy or memset of no bytes does not count.
//
// The call that queued it has returned by then, unless the call waits for it. Some errors are
// sticky: those of which CUDA documents that the process must be terminated and relaunched
// (cudaErrorContained, cudaErrorIllegalAddress, cudaErrorLaunchTimeout, cudaErrorAssert,
// cudaErrorHardwareStackError, cudaErrorIllegalInstruction, cudaErrorMisalignedAddress,
// cudaErrorInvalidAddressSpace, cudaErrorInvalidPc, cudaErrorLaunchFailure, cudaErrorTensorMemoryLeak,
// cudaErrorMpsClientTerminated, cudaErrorExternalDevice), and cudaErrorECCUncorrectable. They end all
// work of the process, on every device: what is queued has no effect any more, and every later call
// returns the error, but for those that need no context: versions, the number of devices, their
// attributes and peers, the current device, what a pointer is, the last error. Any other error is
// returned once, by the next call that finds the operation done: one that waits for, or asks about,
// its stream or an event recorded on the stream after it, or that waits for the device. Everything
// else goes on.
//
// cudaErrorInvalidValue: nth is 0, or the error is unknown or 0. cudaErrorMemoryAllocation: no
// memory to note the fault.
int cudartSimFailOperation(uint64_t nth, int error);

// Forgets all faults that have not happened yet, those of the environment included, and all errors
// of operations that no call has returned yet. Where a sticky error has ended all work of the
// process, which nothing heals with CUDA, work goes on as if it had not: what was allocated and
// created is still there, and what was queued meanwhile is done without having had an effect.
int cudartSimClearFaults(void);

// Gives the number of calls of `function` since the process started, failed ones included.
//
// cudaErrorInvalidValue: the function is unknown or does not return an error, or count is null.
int cudartSimGetCallCount(const char *function, uint64_t *count);

// Gives the number of the blocks that are allocated on a device and not freed, and the sum of the
// sizes in bytes that were asked for.
//
// cudaErrorInvalidDevice: there is no such device. cudaErrorInvalidValue: a null pointer.
int cudartSimGetLiveDeviceMemory(int device, uint64_t *block_count, uint64_t *byte_size);

// Gives the same for pinned host memory. cudaErrorInvalidValue: a null pointer.
int cudartSimGetLiveHostMemory(uint64_t *block_count, uint64_t *byte_size);

// Tells whether a device has a context: *has_context is 1 or 0. A device has none until something
// needs it: cudaSetDevice, and every function but those for versions, devices' attributes, errors,
// cudaEventQuery and cudaPointerGetAttributes, on the thread's current device;
// cudaDeviceEnablePeerAccess on both devices; and cuDevicePrimaryCtxRetain, until it is released.
//
// cudaErrorInvalidDevice: there is no such device. cudaErrorInvalidValue: a null pointer.
int cudartSimHasContext(int device, int *has_context);

// Gives the number of streams and of events that were created and not destroyed.
//
// cudaErrorInvalidValue: a null pointer.
int cudartSimGetLiveHandles(uint64_t *stream_count, uint64_t *event_count);

// Sets how long a copy or memset takes, beyond what moving the bytes takes: operation_ns
// nanoseconds, and ns_per_byte for each byte. It holds for what is queued from now on, on all
// devices. Operations of one stream take their times one after the other, those of several streams
// at the same time.
//
// cudaErrorInvalidValue: a number is not from 0 to CUDART_SIM_DELAY_NS_MAX.
int cudartSimSetDelay(double ns_per_byte, double operation_ns);

// Gives what cudartSimSetDelay or the environment has set. cudaErrorInvalidValue: a null pointer.
int cudartSimGetDelay(double *ns_per_byte, double *operation_ns);

// Gives the number of the error with that name, such as cudaErrorMemoryAllocation.
//
// cudaErrorInvalidValue: a name the simulator does not know, or number is null.
int cudartSimGetErrorNumber(const char *name, int *number);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
