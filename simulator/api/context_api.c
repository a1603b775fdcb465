// The few functions of the CUDA driver by which a program uses a device's primary context, which the
// runtime works on too. They neither read nor change the runtime's last error.
#include <stddef.h>

#include "api/entry_point.h"
#include "process/config.h"
#include "process/context.h"

DRIVER_ENTRY_POINT(cuInit, NEEDS_DEVICE, (unsigned int flags), (flags))
{
    return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

DRIVER_ENTRY_POINT(cuDeviceGet, NEEDS_INITIALIZATION, (CUdevice * device, int ordinal),
                   (device, ordinal))
{
    if (device == NULL) return CUDA_ERROR_INVALID_VALUE;
    if (!config_has_device(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

DRIVER_ENTRY_POINT(cuDevicePrimaryCtxRetain, NEEDS_INITIALIZATION,
                   (CUcontext * context, CUdevice device), (context, device))
{
    if (context == NULL) return CUDA_ERROR_INVALID_VALUE;
    if (!config_has_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    *context = context_retain(device);
    return CUDA_SUCCESS;
}

DRIVER_ENTRY_POINT(cuDevicePrimaryCtxRelease_v2, NEEDS_INITIALIZATION, (CUdevice device), (device))
{
    if (!config_has_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    return context_release(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

DRIVER_ENTRY_POINT(cuDevicePrimaryCtxGetState, NEEDS_INITIALIZATION,
                   (CUdevice device, unsigned int *flags, int *active), (device, flags, active))
{
    if (flags == NULL || active == NULL) return CUDA_ERROR_INVALID_VALUE;
    if (!config_has_device(device)) return CUDA_ERROR_INVALID_DEVICE;
    *flags = 0;
    *active = context_is_active(device);
    return CUDA_SUCCESS;
}

DRIVER_ENTRY_POINT(cuCtxPushCurrent_v2, NEEDS_INITIALIZATION, (CUcontext context), (context))
{
    return context_push(context);
}

DRIVER_ENTRY_POINT(cuCtxPopCurrent_v2, NEEDS_INITIALIZATION, (CUcontext * context), (context))
{
    return context_pop(context);
}

DRIVER_ENTRY_POINT(cuCtxGetCurrent, NEEDS_INITIALIZATION, (CUcontext * context), (context))
{
    if (context == NULL) return CUDA_ERROR_INVALID_VALUE;
    *context = context_current();
    return CUDA_SUCCESS;
}
