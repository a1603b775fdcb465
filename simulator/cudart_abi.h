// The types and constants of the CUDA runtime's ABI that the simulator uses, declared again here so
// that it builds where no CUDA toolkit is installed. The functions are declared where they are
// defined; see api/entry_point.h. The tests compile the simulator with the real cuda_runtime_api.h
// in place of this file.
#ifndef CUDART_ABI_H
#define CUDART_ABI_H

#include <stddef.h>

#include "cudart_errors.h"

typedef enum cudaError {
#define ENUMERATOR(number, name, text) name = number,
    CUDART_ERRORS(ENUMERATOR)
#undef ENUMERATOR
} cudaError_t;

enum cudaDeviceAttr {
    cudaDevAttrIntegrated = 18,
    cudaDevAttrCanMapHostMemory = 19,
    cudaDevAttrUnifiedAddressing = 41,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMemoryPoolsSupported = 115,
    cudaDevAttrHostNumaId = 134,
};

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4,
};

enum cudaMemoryType {
    cudaMemoryTypeUnregistered = 0,
    cudaMemoryTypeHost = 1,
    cudaMemoryTypeDevice = 2,
};

struct cudaPointerAttributes {
    enum cudaMemoryType type;
    int device;
    void *devicePointer;
    void *hostPointer;
    long reserved[8];
};

enum {
    cudaHostAllocPortable = 1,
    cudaHostAllocMapped = 2,
    cudaHostAllocWriteCombined = 4,
};

enum {
    cudaInvalidDeviceId = -2,
};

enum {
    cudaStreamDefault = 0,
    cudaStreamNonBlocking = 1,
};

enum {
    cudaEventDefault = 0,
    cudaEventBlockingSync = 1,
    cudaEventDisableTiming = 2,
    cudaEventInterprocess = 4,
};

enum {
    cudaEventWaitDefault = 0,
    cudaEventWaitExternal = 1,
};

enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal = 0,
    cudaStreamCaptureModeThreadLocal = 1,
    cudaStreamCaptureModeRelaxed = 2,
};

enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone = 0,
    cudaStreamCaptureStatusActive = 1,
    cudaStreamCaptureStatusInvalidated = 2,
};

typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
typedef void (*cudaHostFn_t)(void *argument);

// The default streams that have a handle; the null handle is one of these two as well.
#define cudaStreamLegacy ((cudaStream_t)0x1)
#define cudaStreamPerThread ((cudaStream_t)0x2)

#endif
