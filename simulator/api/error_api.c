// The CUDA runtime's functions for errors.
#include "api/entry_point.h"
#include "faults/errors.h"
#include "process/thread_state.h"

API_PROTOTYPE(const char *, cudaGetErrorName, (cudaError_t error))

const char *cudaGetErrorName(cudaError_t error)
{
    return error_name(error);
}

API_PROTOTYPE(const char *, cudaGetErrorString, (cudaError_t error))

const char *cudaGetErrorString(cudaError_t error)
{
    return error_text(error);
}

ENTRY_POINT(cudaGetLastError, REPORTS_LAST_ERROR, (void), ())
{
    cudaError_t error = thread_state.last_error;
    thread_state.last_error = cudaSuccess;
    return error;
}

ENTRY_POINT(cudaPeekAtLastError, REPORTS_LAST_ERROR, (void), ())
{
    return thread_state.last_error;
}
