// The CUDA runtime's functions for versions and devices.
#include <stdatomic.h>
#include <stdbool.h>

#include "api/entry_point.h"
#include "process/config.h"
#include "process/context.h"
#include "process/thread_state.h"
#include "streams/async_error.h"
#include "streams/capture.h"
#include "streams/synchronize.h"

#define SIMULATED_CUDA_VERSION 13000

// Whether the first device may access the second.
static atomic_bool peer_access[DEVICE_COUNT_MAX][DEVICE_COUNT_MAX];

static cudaError_t give(int *place, int value)
{
    if (place == NULL) return cudaErrorInvalidValue;
    *place = value;
    return cudaSuccess;
}

ENTRY_POINT(cudaRuntimeGetVersion, ANYWHERE, (int *runtime_version), (runtime_version))
{
    return give(runtime_version, SIMULATED_CUDA_VERSION);
}

ENTRY_POINT(cudaDriverGetVersion, ANYWHERE, (int *driver_version), (driver_version))
{
    return give(driver_version, SIMULATED_CUDA_VERSION);
}

ENTRY_POINT(cudaGetDeviceCount, NEEDS_DEVICE, (int *count), (count))
{
    return give(count, config_get()->device_count);
}

ENTRY_POINT(cudaDeviceGetAttribute, NEEDS_DEVICE,
            (int *value, enum cudaDeviceAttr attribute, int device), (value, attribute, device))
{
    if (!config_has_device(device)) return cudaErrorInvalidDevice;
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

ENTRY_POINT(cudaGetDevice, NEEDS_DEVICE, (int *device), (device))
{
    return give(device, thread_state.current_device);
}

ENTRY_POINT(cudaSetDevice, NEEDS_DEVICE, (int device), (device))
{
    if (!config_has_device(device)) return cudaErrorInvalidDevice;
    cudaError_t error = sticky_error();
    // A context that is there can be made current still.
    if (error != cudaSuccess && !context_is_active(device)) return error;
    context_set_device(device);
    return cudaSuccess;
}

ENTRY_POINT(cudaDeviceSynchronize, WORKS_ON_DEVICE, (void), ())
{
    int device = thread_state.current_device;
    streams_lock();
    cudaError_t error = capture_check_device(device);
    if (error == cudaSuccess) error = device_wait_idle(device);
    if (error == cudaSuccess) error = async_error_report_all(device);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaDeviceCanAccessPeer, NEEDS_DEVICE, (int *can_access, int device, int peer),
            (can_access, device, peer))
{
    if (!config_has_device(device) || !config_has_device(peer)) return cudaErrorInvalidDevice;
    return give(can_access, device != peer);
}

// Copies between devices need no peer access, so enabling it is only noted.

ENTRY_POINT(cudaDeviceEnablePeerAccess, WORKS_ON_DEVICE, (int peer, unsigned int flags),
            (peer, flags))
{
    int device = thread_state.current_device;
    if (!config_has_device(peer)) return cudaErrorInvalidDevice;
    if (flags != 0) return cudaErrorInvalidValue;
    if (peer == device) return cudaErrorPeerAccessUnsupported;
    context_ensure(peer);
    bool was_enabled = atomic_exchange(&peer_access[device][peer], true);
    return was_enabled ? cudaErrorPeerAccessAlreadyEnabled : cudaSuccess;
}

ENTRY_POINT(cudaDeviceDisablePeerAccess, WORKS_ON_DEVICE, (int peer), (peer))
{
    if (!config_has_device(peer)) return cudaErrorInvalidDevice;
    bool was_enabled = atomic_exchange(&peer_access[thread_state.current_device][peer], false);
    return was_enabled ? cudaSuccess : cudaErrorPeerAccessNotEnabled;
}
