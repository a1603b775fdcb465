// What every function of the API that returns a cudaError_t does before and after its work.
#ifndef ENTRY_POINT_H
#define ENTRY_POINT_H

#include "cudart_abi.h"
#include "faults/functions.h"

// Reads the environment if this is the first call, counts the call, and gives the error with which
// it has to fail before it does anything: an injected one, or for lack of a device that works.
cudaError_t entry_begin(enum function function);

// Makes an error the thread's last error, and gives it back. What cudaGetLastError returns is its
// result, and cudaErrorNotReady is no error.
cudaError_t entry_end(enum function function, cudaError_t error);

// Defines an API function; its body follows. The body runs only if entry_begin let the call
// through, so config_get() is not NULL in it, and there is a device if the function needs one.
#define ENTRY_POINT(name, parameters, arguments)                                                   \
    static cudaError_t name##_body parameters;                                                     \
    cudaError_t name parameters                                                                    \
    {                                                                                              \
        cudaError_t error = entry_begin(FUNCTION_##name);                                          \
        if (error == cudaSuccess) error = name##_body arguments;                                   \
        return entry_end(FUNCTION_##name, error);                                                  \
    }                                                                                              \
    static cudaError_t name##_body parameters

#endif
