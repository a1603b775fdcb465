// The types and constants of the CUDA driver's ABI that the simulator uses, as cudart_abi.h has those
// of the runtime's. The tests compile the simulator with the real cuda.h in place of this file.
#ifndef CUDA_ABI_H
#define CUDA_ABI_H

// An error has the same number for the driver as for the runtime.
typedef enum cudaError_enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201,
} CUresult;

typedef int CUdevice;
typedef struct CUctx_st *CUcontext;

#endif
