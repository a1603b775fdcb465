#include "api/entry_point.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "faults/errors.h"
#include "process/config.h"
#include "process/context.h"
#include "process/thread_state.h"
#include "streams/async_error.h"
#include "streams/capture.h"

// The driver has been asked for devices.
static atomic_bool is_initialized;

static cudaError_t check_work(void)
{
    if (thread_state.is_in_host_function) return cudaErrorNotPermitted;
    return sticky_error();
}

static cudaError_t check_safe(void)
{
    streams_lock();
    cudaError_t error = capture_check_unsafe();
    streams_unlock();
    return error;
}

static cudaError_t begin_with_trait(enum function_trait trait, const struct config *config)
{
    if (trait == ANYWHERE || trait == REPORTS_LAST_ERROR) return cudaSuccess;
    if (trait == NEEDS_INITIALIZATION && !is_initialized) return cudaErrorInitializationError;
    if (config->start_error != cudaSuccess) return config->start_error;
    if (config->device_count == 0) return cudaErrorNoDevice;
    is_initialized = true;
    if (trait == NEEDS_DEVICE || trait == NEEDS_INITIALIZATION) return cudaSuccess;
    cudaError_t error = check_work();
    if (error != cudaSuccess || trait == NEEDS_WORKING_DEVICE) return error;
    context_ensure_current();
    return trait == UNSAFE_IN_CAPTURE ? check_safe() : cudaSuccess;
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
    return begin_with_trait(function->trait, config);
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
