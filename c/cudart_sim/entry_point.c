#include "entry_point.h"

#include "config.h"
#include "faults.h"
#include "thread_state.h"

_Thread_local struct thread_state thread_state;

cudaError_t entry_begin(enum function function)
{
    const struct config *config = config_get();
    if (config == NULL)
        return cudaErrorInitializationError;
    cudaError_t error = faults_count_call(function);
    if (error == cudaSuccess && config->device_count == 0 &&
        function_trait(function) == NEEDS_DEVICE)
        error = cudaErrorNoDevice;
    return error;
}

cudaError_t entry_end(enum function function, cudaError_t error)
{
    if (error != cudaSuccess && function_trait(function) != REPORTS_LAST_ERROR)
        thread_state.last_error = error;
    return error;
}
