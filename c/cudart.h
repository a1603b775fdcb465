// The CUDA runtime as this library sees it: addresses that TypeScript hands over by name.
//
// Nothing here links to CUDA, so one library serves every CUDA version and none at all.
#ifndef CUDART_H
#define CUDART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CUDART_FUNCTIONS(X)                                                                       \
    X(const char *, cudaGetErrorName, (int error))                                                \
    X(const char *, cudaGetErrorString, (int error))                                              \
    X(int, cudaGetLastError, (void))                                                              \
    X(int, cudaGetDevice, (int *device))                                                          \
    X(int, cudaSetDevice, (int device))                                                           \
    X(int, cudaMalloc, (void **pointer, size_t byte_size))                                        \
    X(int, cudaFree, (void *pointer))                                                             \
    X(int, cudaHostAlloc, (void **pointer, size_t byte_size, unsigned int flags))                 \
    X(int, cudaFreeHost, (void *pointer))                                                         \
    X(int, cudaMemcpy, (void *target, const void *source, size_t byte_size, int kind))            \
    X(int, cudaStreamSynchronize, (void *stream))

struct cudart {
#define CUDART_MEMBER(result, name, parameters) result(*name) parameters;
    CUDART_FUNCTIONS(CUDART_MEMBER)
#undef CUDART_MEMBER
};

extern struct cudart cudart;

// Whether the process has a CUDA runtime.
bool cudart_is_bound(void);

// Reads the result of a CUDA call. A failure adds a line to this thread's message, with what was
// being done (`format`), the call that failed and CUDA's name and text of the error, and comes
// back as MEMORY_INTERNAL.
__attribute__((format(printf, 3, 4))) int32_t cudart_check(int error, const char *function,
                                                           const char *format, ...);

// The current device belongs to the calling thread and is the user's: whoever changes it saves it
// before and restores it after.
int32_t cudart_get_device(int *device);
int32_t cudart_set_device(int device);

#endif
