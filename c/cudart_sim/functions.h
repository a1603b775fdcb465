// The functions that return a cudaError_t: those whose calls are counted and can be made to fail.
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

enum function_trait {
    // Works without a device.
    ANYWHERE,
    // Returns cudaErrorNoDevice on a machine without devices.
    NEEDS_DEVICE,
    // Returns the thread's last error as its result, so its result is not a new last error.
    REPORTS_LAST_ERROR,
};

#define CUDART_FUNCTIONS(X)                                                                        \
    X(cudaRuntimeGetVersion, ANYWHERE)                                                             \
    X(cudaDriverGetVersion, ANYWHERE)                                                              \
    X(cudaGetLastError, REPORTS_LAST_ERROR)                                                        \
    X(cudaPeekAtLastError, REPORTS_LAST_ERROR)                                                     \
    X(cudaGetDeviceCount, NEEDS_DEVICE)                                                            \
    X(cudaDeviceGetAttribute, NEEDS_DEVICE)                                                        \
    X(cudaGetDevice, NEEDS_DEVICE)                                                                 \
    X(cudaSetDevice, NEEDS_DEVICE)                                                                 \
    X(cudaDeviceSynchronize, NEEDS_DEVICE)                                                         \
    X(cudaStreamSynchronize, NEEDS_DEVICE)                                                         \
    X(cudaMalloc, NEEDS_DEVICE)                                                                    \
    X(cudaFree, NEEDS_DEVICE)                                                                      \
    X(cudaMemGetInfo, NEEDS_DEVICE)                                                                \
    X(cudaHostAlloc, NEEDS_DEVICE)                                                                 \
    X(cudaFreeHost, NEEDS_DEVICE)                                                                  \
    X(cudaMemcpy, NEEDS_DEVICE)                                                                    \
    X(cudaMemset, NEEDS_DEVICE)                                                                    \
    X(cudaPointerGetAttributes, NEEDS_DEVICE)

enum function {
#define ENUMERATOR(name, trait) FUNCTION_##name,
    CUDART_FUNCTIONS(ENUMERATOR)
#undef ENUMERATOR
    FUNCTION_COUNT,
};

// FUNCTION_COUNT when there is none of that name, or name is null.
enum function function_by_name(const char *name);

enum function_trait function_trait(enum function function);

#endif
