// How a function of the CUDA API is defined: ENTRY_POINT gives it its prototype, registers it, and
// does what all of them do before and after their work. Nothing else has to know its name.
//
// cudaGetErrorName and cudaGetErrorString return no cudaError_t, and use only API_PROTOTYPE.
#ifndef ENTRY_POINT_H
#define ENTRY_POINT_H

#include "cuda_abi.h"
#include "cudart_abi.h"
#include "faults/functions.h"

// Declares an exported function. Where CUDA's header is included it has done so already, and must
// not be repeated: then -Wmissing-prototypes finds the functions that CUDA does not have, as the
// compiler finds those that it declares otherwise.
#ifdef CUDART_VERSION
#define API_PROTOTYPE(result, name, parameters)
#else
#define API_PROTOTYPE(result, name, parameters)                                                    \
    __attribute__((visibility("default"))) result name parameters;
#endif

// Reads the environment if this is the first call, counts the call, and gives the error with which
// it has to fail before it does anything: an injected one, or for lack of a device that works.
cudaError_t entry_begin(struct function *function);

// Makes an error the thread's last error, and gives it back.
cudaError_t entry_end(const struct function *function, cudaError_t error);

#define REGISTER_FUNCTION(name, trait)                                                             \
    static struct function name##_function = {#name, trait, {0}, NULL};                            \
    __attribute__((constructor)) static void name##_register(void)                                 \
    {                                                                                              \
        function_register(&name##_function);                                                       \
    }

// Defines a function of the API; its body follows. `trait` is an enum function_trait. The body runs
// only if entry_begin let the call through, so config_get() is not NULL in it, and there is a
// device if the function needs one.
#define ENTRY_POINT(name, trait, parameters, arguments)                                            \
    API_PROTOTYPE(cudaError_t, name, parameters)                                                   \
    REGISTER_FUNCTION(name, trait)                                                                 \
    static cudaError_t name##_body parameters;                                                     \
    cudaError_t name parameters                                                                    \
    {                                                                                              \
        cudaError_t error = entry_begin(&name##_function);                                         \
        if (error == cudaSuccess) error = name##_body arguments;                                   \
        return entry_end(&name##_function, error);                                                 \
    }                                                                                              \
    static cudaError_t name##_body parameters

// The same for a function of the driver, whose errors do not become the thread's last error.
#define DRIVER_ENTRY_POINT(name, trait, parameters, arguments)                                     \
    API_PROTOTYPE(CUresult, name, parameters)                                                      \
    REGISTER_FUNCTION(name, trait)                                                                 \
    static CUresult name##_body parameters;                                                        \
    CUresult name parameters                                                                       \
    {                                                                                              \
        CUresult error = (CUresult)entry_begin(&name##_function);                                  \
        return error == CUDA_SUCCESS ? name##_body arguments : error;                              \
    }                                                                                              \
    static CUresult name##_body parameters

#endif
