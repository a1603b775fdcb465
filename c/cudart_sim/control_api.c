// The functions of cudart_sim.h.
#include "cudart_sim.h"

#include "config.h"
#include "device_memory.h"
#include "errors.h"
#include "faults.h"
#include "functions.h"
#include "host_memory.h"

int cudartSimFailCall(const char *function_name, uint64_t nth, int error)
{
    if (config_get() == NULL)
        return cudaErrorInitializationError;
    enum function function = function_by_name(function_name);
    if (function == FUNCTION_COUNT || nth == 0 || error == cudaSuccess || !error_is_known(error))
        return cudaErrorInvalidValue;
    return faults_add(function, nth, (cudaError_t)error) ? cudaSuccess : cudaErrorMemoryAllocation;
}

int cudartSimClearFaults(void)
{
    if (config_get() == NULL)
        return cudaErrorInitializationError;
    faults_clear();
    return cudaSuccess;
}

int cudartSimGetCallCount(const char *function_name, uint64_t *count)
{
    if (config_get() == NULL)
        return cudaErrorInitializationError;
    enum function function = function_by_name(function_name);
    if (function == FUNCTION_COUNT || count == NULL)
        return cudaErrorInvalidValue;
    *count = faults_call_count(function);
    return cudaSuccess;
}

int cudartSimGetLiveDeviceMemory(int device, uint64_t *block_count, uint64_t *byte_size)
{
    const struct config *config = config_get();
    if (config == NULL)
        return cudaErrorInitializationError;
    if (device < 0 || device >= config->device_count)
        return cudaErrorInvalidDevice;
    if (block_count == NULL || byte_size == NULL)
        return cudaErrorInvalidValue;
    device_memory_usage(device, block_count, byte_size);
    return cudaSuccess;
}

int cudartSimGetLiveHostMemory(uint64_t *block_count, uint64_t *byte_size)
{
    if (config_get() == NULL)
        return cudaErrorInitializationError;
    if (block_count == NULL || byte_size == NULL)
        return cudaErrorInvalidValue;
    host_memory_usage(block_count, byte_size);
    return cudaSuccess;
}

int cudartSimGetErrorNumber(const char *name, int *number)
{
    if (config_get() == NULL)
        return cudaErrorInitializationError;
    cudaError_t error;
    if (number == NULL || !error_by_name(name, &error))
        return cudaErrorInvalidValue;
    *number = (int)error;
    return cudaSuccess;
}
