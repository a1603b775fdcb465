// The functions of cudart_sim.h.
#include "cudart_sim.h"

#include "faults/errors.h"
#include "faults/faults.h"
#include "faults/functions.h"
#include "memory/device_memory.h"
#include "memory/host_memory.h"
#include "process/config.h"
#include "process/context.h"
#include "process/delay.h"
#include "streams/async_error.h"
#include "streams/event.h"
#include "streams/stream_handle.h"

static cudaError_t inject(struct fault_site *site, uint64_t nth, int error)
{
    if (nth == 0 || error == cudaSuccess || !error_is_known(error)) return cudaErrorInvalidValue;
    return fault_add(site, nth, (cudaError_t)error) ? cudaSuccess : cudaErrorMemoryAllocation;
}

int cudartSimFailCall(const char *function_name, uint64_t nth, int error)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    struct function *function = function_by_name(function_name);
    return function == NULL ? cudaErrorInvalidValue : inject(&function->calls, nth, error);
}

int cudartSimFailOperation(uint64_t nth, int error)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    return inject(&async_transfers, nth, error);
}

int cudartSimClearFaults(void)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    faults_clear();
    streams_lock();
    async_errors_clear();
    streams_unlock();
    return cudaSuccess;
}

int cudartSimGetCallCount(const char *function_name, uint64_t *count)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    const struct function *function = function_by_name(function_name);
    if (function == NULL || count == NULL) return cudaErrorInvalidValue;
    *count = function->calls.hit_count;
    return cudaSuccess;
}

int cudartSimGetLiveDeviceMemory(int device, uint64_t *block_count, uint64_t *byte_size)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    if (!config_has_device(device)) return cudaErrorInvalidDevice;
    if (block_count == NULL || byte_size == NULL) return cudaErrorInvalidValue;
    device_memory_usage(device, block_count, byte_size);
    return cudaSuccess;
}

int cudartSimGetLiveHostMemory(uint64_t *block_count, uint64_t *byte_size)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    if (block_count == NULL || byte_size == NULL) return cudaErrorInvalidValue;
    host_memory_usage(block_count, byte_size);
    return cudaSuccess;
}

int cudartSimSetVariable(const char *name, const char *value)
{
    switch (config_set_variable(name, value)) {
    case VARIABLE_UNKNOWN:
        return cudaErrorInvalidValue;
    case VARIABLE_TOO_LATE:
        return cudaErrorSetOnActiveProcess;
    case VARIABLE_NO_MEMORY:
        return cudaErrorMemoryAllocation;
    case VARIABLE_TAKEN:
        break;
    }
    return cudaSuccess;
}

int cudartSimHasContext(int device, int *has_context)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    if (!config_has_device(device)) return cudaErrorInvalidDevice;
    if (has_context == NULL) return cudaErrorInvalidValue;
    *has_context = context_is_active(device);
    return cudaSuccess;
}

int cudartSimGetLiveHandles(uint64_t *live_stream_count, uint64_t *live_event_count)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    if (live_stream_count == NULL || live_event_count == NULL) return cudaErrorInvalidValue;
    streams_lock();
    *live_stream_count = stream_count();
    *live_event_count = event_count();
    streams_unlock();
    return cudaSuccess;
}

int cudartSimSetDelay(double ns_per_byte, double operation_ns)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    bool is_set = delay_set((struct delay){ns_per_byte, operation_ns});
    return is_set ? cudaSuccess : cudaErrorInvalidValue;
}

int cudartSimGetDelay(double *ns_per_byte, double *operation_ns)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    if (ns_per_byte == NULL || operation_ns == NULL) return cudaErrorInvalidValue;
    struct delay delay = delay_get();
    *ns_per_byte = delay.ns_per_byte;
    *operation_ns = delay.operation_ns;
    return cudaSuccess;
}

int cudartSimGetErrorNumber(const char *name, int *number)
{
    if (config_get() == NULL) return cudaErrorInitializationError;
    cudaError_t error;
    if (number == NULL || !error_by_name(name, &error)) return cudaErrorInvalidValue;
    *number = (int)error;
    return cudaSuccess;
}
