// The CUDA runtime's functions for versions, errors and devices.
#include <stdbool.h>

#include "config.h"
#include "entry_point.h"
#include "thread_state.h"

#define CUDA_VERSION_NUMBER 13000

static cudaError_t give(int *out, int value)
{
    if (out == NULL)
        return cudaErrorInvalidValue;
    *out = value;
    return cudaSuccess;
}

static bool device_exists(int device)
{
    return device >= 0 && device < config_get()->device_count;
}

ENTRY_POINT(cudaRuntimeGetVersion, (int *runtime_version), (runtime_version))
{
    return give(runtime_version, CUDA_VERSION_NUMBER);
}

ENTRY_POINT(cudaDriverGetVersion, (int *driver_version), (driver_version))
{
    return give(driver_version, CUDA_VERSION_NUMBER);
}

ENTRY_POINT(cudaGetLastError, (void), ())
{
    cudaError_t error = thread_state.last_error;
    thread_state.last_error = cudaSuccess;
    return error;
}

ENTRY_POINT(cudaPeekAtLastError, (void), ())
{
    return thread_state.last_error;
}

ENTRY_POINT(cudaGetDeviceCount, (int *count), (count))
{
    return give(count, config_get()->device_count);
}

ENTRY_POINT(cudaDeviceGetAttribute, (int *value, enum cudaDeviceAttr attribute, int device),
            (value, attribute, device))
{
    if (!device_exists(device))
        return cudaErrorInvalidDevice;
    const struct device_config *config = &config_get()->devices[device];
    switch (attribute) {
    case cudaDevAttrIntegrated:
        return give(value, 0);
    case cudaDevAttrCanMapHostMemory:
        return give(value, 1);
    case cudaDevAttrUnifiedAddressing:
        return give(value, 1);
    case cudaDevAttrComputeCapabilityMajor:
        return give(value, config->compute_capability_major);
    case cudaDevAttrComputeCapabilityMinor:
        return give(value, config->compute_capability_minor);
    case cudaDevAttrMemoryPoolsSupported:
        return give(value, 1);
    case cudaDevAttrHostNumaId:
        return give(value, 0);
    default:
        return cudaErrorInvalidValue;
    }
}

ENTRY_POINT(cudaGetDevice, (int *device), (device))
{
    return give(device, thread_state.current_device);
}

ENTRY_POINT(cudaSetDevice, (int device), (device))
{
    if (!device_exists(device))
        return cudaErrorInvalidDevice;
    thread_state.current_device = device;
    return cudaSuccess;
}

// Every operation is complete when its call returns, so neither function has to wait.

ENTRY_POINT(cudaDeviceSynchronize, (void), ())
{
    return cudaSuccess;
}

ENTRY_POINT(cudaStreamSynchronize, (cudaStream_t stream), (stream))
{
    bool is_default = stream == NULL || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
    return is_default ? cudaSuccess : cudaErrorInvalidResourceHandle;
}
