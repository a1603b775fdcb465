// The CUDA runtime's functions for events.
#include "api/entry_point.h"
#include "process/thread_state.h"
#include "streams/event.h"
#include "streams/stream.h"

static cudaError_t create(cudaEvent_t *event, unsigned int flags)
{
    // Only the flag for timing makes a difference, because waiting never keeps a processor busy here,
    // and no event can be shared with another process.
    const unsigned int known =
        cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
    bool has_timing = (flags & cudaEventDisableTiming) == 0;
    bool is_shared = (flags & cudaEventInterprocess) != 0;
    if (event == NULL || (flags & ~known) != 0 || (is_shared && has_timing)) {
        return cudaErrorInvalidValue;
    }
    streams_lock();
    cudaError_t error = event_create(thread_state.current_device, has_timing, event);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaEventCreate, WORKS_ON_DEVICE, (cudaEvent_t * event), (event))
{
    return create(event, cudaEventDefault);
}

ENTRY_POINT(cudaEventCreateWithFlags, WORKS_ON_DEVICE, (cudaEvent_t * event, unsigned int flags),
            (event, flags))
{
    return create(event, flags);
}

ENTRY_POINT(cudaEventDestroy, WORKS_ON_DEVICE, (cudaEvent_t event), (event))
{
    streams_lock();
    cudaError_t error = event_destroy(event);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaEventRecord, WORKS_ON_DEVICE, (cudaEvent_t event, cudaStream_t stream),
            (event, stream))
{
    streams_lock();
    cudaError_t error = event_record_on(event, stream);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaEventQuery, NEEDS_WORKING_DEVICE, (cudaEvent_t event), (event))
{
    streams_lock();
    cudaError_t error = event_query(event);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaEventSynchronize, WORKS_ON_DEVICE, (cudaEvent_t event), (event))
{
    streams_lock();
    cudaError_t error = event_synchronize(event);
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaEventElapsedTime, WORKS_ON_DEVICE, (float *ms, cudaEvent_t start, cudaEvent_t end),
            (ms, start, end))
{
    if (ms == NULL) return cudaErrorInvalidValue;
    streams_lock();
    cudaError_t error = event_elapsed_ms(start, end, ms);
    streams_unlock();
    return error;
}
