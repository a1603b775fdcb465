#include "api/entry_point.h"

#include "faults/errors.h"
#include "process/config.h"
#include "process/thread_state.h"
#include "streams/async_error.h"

static cudaError_t check_work(void)
{
    if (thread_state.is_in_host_function) return cudaErrorNotPermitted;
    return sticky_error();
}

cudaError_t entry_begin(struct function *function)
{
    const struct config *config = config_get();
    if (config == NULL) return cudaErrorInitializationError;
    cudaError_t error = fault_site_hit(&function->calls);
    if (error != cudaSuccess) {
        sticky_error_note(error);
        return error_is_sticky(error) ? sticky_error() : error;
    }
    switch (function->trait) {
    case WORKS_ON_DEVICE:
        return config->device_count == 0 ? cudaErrorNoDevice : check_work();
    case NEEDS_DEVICE:
        return config->device_count == 0 ? cudaErrorNoDevice : cudaSuccess;
    case ANYWHERE:
    case REPORTS_LAST_ERROR:
        break;
    }
    return cudaSuccess;
}

cudaError_t entry_end(const struct function *function, cudaError_t error)
{
    // CUDA documents cudaErrorNotReady as no error.
    if (error != cudaSuccess && error != cudaErrorNotReady &&
        function->trait != REPORTS_LAST_ERROR) {
        thread_state.last_error = error;
    }
    return error;
}
