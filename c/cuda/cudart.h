// The CUDA runtime as this library sees it: the addresses of its functions, which TypeScript hands
// over by name.
//
// Nothing here links to CUDA, so one library serves every CUDA version, and machines without CUDA.
#ifndef CUDART_H
#define CUDART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "cuda/lost.h"

#define CUDART_FUNCTIONS(X)                                                                        \
    X(const char *, cudaGetErrorName, (int error))                                                 \
    X(const char *, cudaGetErrorString, (int error))                                               \
    X(int, cudaGetLastError, (void))                                                               \
    X(int, cudaGetDeviceCount, (int *device_count))                                                \
    X(int, cudaGetDevice, (int *device))                                                           \
    X(int, cudaSetDevice, (int device))                                                            \
    X(int, cudaMalloc, (void **pointer, size_t byte_size))                                         \
    X(int, cudaFree, (void *pointer))                                                              \
    X(int, cudaHostAlloc, (void **pointer, size_t byte_size, unsigned int flags))                  \
    X(int, cudaFreeHost, (void *pointer))                                                          \
    X(int, cudaMemGetInfo, (size_t *free_byte_size, size_t *total_byte_size))                      \
    X(int, cudaMemcpy, (void *target, const void *source, size_t byte_size, int kind))             \
    X(int, cudaMemcpyAsync,                                                                        \
      (void *target, const void *source, size_t byte_size, int kind, void *stream))                \
    X(int, cudaMemset, (void *target, int value, size_t byte_size))                                \
    X(int, cudaDeviceSynchronize, (void))                                                          \
    X(int, cudaDeviceCanAccessPeer, (int *can_access, int device, int peer_device))                \
    X(int, cudaDeviceEnablePeerAccess, (int peer_device, unsigned int flags))                      \
    X(int, cudaStreamCreateWithFlags, (void **stream, unsigned int flags))                         \
    X(int, cudaStreamDestroy, (void *stream))                                                      \
    X(int, cudaStreamQuery, (void *stream))                                                        \
    X(int, cudaStreamSynchronize, (void *stream))                                                  \
    X(int, cudaStreamWaitEvent, (void *stream, void *event, unsigned int flags))                   \
    X(int, cudaStreamIsCapturing, (void *stream, int *capture_status))                             \
    X(int, cudaThreadExchangeStreamCaptureMode, (int *capture_mode))                               \
    X(int, cudaEventCreateWithFlags, (void **event, unsigned int flags))                           \
    X(int, cudaEventDestroy, (void *event))                                                        \
    X(int, cudaEventRecord, (void *event, void *stream))                                           \
    X(int, cudaEventQuery, (void *event))

// The most devices that a process can use.
enum { DEVICE_COUNT_MAX = 128 };

// The values of cudaError_t that this library tells apart from other errors.
enum {
    CUDA_ERROR_MEMORY_ALLOCATION = 2,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704,
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906,
};

struct cudart {
#define CUDART_MEMBER(result, name, parameters) result(*name) parameters;
    CUDART_FUNCTIONS(CUDART_MEMBER)
#undef CUDART_MEMBER
};

extern struct cudart cudart;

// A call of CUDA, of which there are no others: CUDART(cudaFree(pointer)). Once CUDA is lost it answers
// with the error that it was lost with.
#define CUDART(call) (cuda_is_lost() ? cuda_lost_error() : cudart.call)

// Whether the process has a CUDA runtime.
bool cudart_is_bound(void);

// Reads the result of a CUDA call. A failure adds a line to this thread's message, with what was
// being done (`format`), the call that failed and CUDA's name and text of the error, and comes
// back as MEMORY_INTERNAL, or as MEMORY_DEVICE_LOST where CUDA is lost with it, or was before.
__attribute__((format(printf, 3, 4))) enum memory_status
cudart_check(int error, const char *function, const char *format, ...);

// As cudart_check(), for a call that asks whether something is done: MEMORY_NOT_DONE where it is
// not.
__attribute__((format(printf, 3, 4))) enum memory_status
cudart_check_done(int error, const char *function, const char *format, ...);

// Takes back the calling thread's last CUDA error after it was handled here, so that the thread's
// next user of CUDA does not find it.
void cudart_clear_last_error(void);

// Takes note of an error that nobody is told of at this point.
void cudart_note_error(int error, const char *function);

#endif
