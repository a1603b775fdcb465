// The functions that return a cudaError_t: those whose calls are counted and can be made to fail.
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

enum function_trait {
    // Works without a device.
    ANYWHERE,
    // Returns cudaErrorNoDevice on a machine without devices.
    NEEDS_DEVICE,
    // So does this one. Besides it returns the error that ended all work on the thread's current
    // device, if there was one, and cudaErrorNotPermitted when a host function calls it.
    WORKS_ON_DEVICE,
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
    X(cudaDeviceSynchronize, WORKS_ON_DEVICE)                                                      \
    X(cudaDeviceCanAccessPeer, NEEDS_DEVICE)                                                       \
    X(cudaDeviceEnablePeerAccess, WORKS_ON_DEVICE)                                                 \
    X(cudaDeviceDisablePeerAccess, WORKS_ON_DEVICE)                                                \
    X(cudaStreamCreate, WORKS_ON_DEVICE)                                                           \
    X(cudaStreamCreateWithFlags, WORKS_ON_DEVICE)                                                  \
    X(cudaStreamDestroy, WORKS_ON_DEVICE)                                                          \
    X(cudaStreamQuery, WORKS_ON_DEVICE)                                                            \
    X(cudaStreamSynchronize, WORKS_ON_DEVICE)                                                      \
    X(cudaStreamWaitEvent, WORKS_ON_DEVICE)                                                        \
    X(cudaLaunchHostFunc, WORKS_ON_DEVICE)                                                         \
    X(cudaEventCreate, WORKS_ON_DEVICE)                                                            \
    X(cudaEventCreateWithFlags, WORKS_ON_DEVICE)                                                   \
    X(cudaEventDestroy, WORKS_ON_DEVICE)                                                           \
    X(cudaEventRecord, WORKS_ON_DEVICE)                                                            \
    X(cudaEventQuery, WORKS_ON_DEVICE)                                                             \
    X(cudaEventSynchronize, WORKS_ON_DEVICE)                                                       \
    X(cudaEventElapsedTime, WORKS_ON_DEVICE)                                                       \
    X(cudaMalloc, WORKS_ON_DEVICE)                                                                 \
    X(cudaFree, WORKS_ON_DEVICE)                                                                   \
    X(cudaMemGetInfo, WORKS_ON_DEVICE)                                                             \
    X(cudaHostAlloc, WORKS_ON_DEVICE)                                                              \
    X(cudaFreeHost, WORKS_ON_DEVICE)                                                               \
    X(cudaMemcpy, WORKS_ON_DEVICE)                                                                 \
    X(cudaMemcpyAsync, WORKS_ON_DEVICE)                                                            \
    X(cudaMemcpyPeerAsync, WORKS_ON_DEVICE)                                                        \
    X(cudaMemset, WORKS_ON_DEVICE)                                                                 \
    X(cudaMemsetAsync, WORKS_ON_DEVICE)                                                            \
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
