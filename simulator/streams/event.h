// Events. The caller of a function here holds the lock of stream.h, which those that wait give up
// meanwhile.
#ifndef EVENT_H
#define EVENT_H

#include <stdbool.h>
#include <stddef.h>

#include "cudart_abi.h"

cudaError_t event_create(int device, bool has_timing, cudaEvent_t *handle);

// Ends the handle; the work that the event has captured goes on.
cudaError_t event_destroy(cudaEvent_t handle);

// Captures what is queued on the stream, in place of what the event captured before.
cudaError_t event_record_on(cudaEvent_t handle, cudaStream_t stream);

// cudaErrorNotReady until what the event captured is done.
cudaError_t event_query(cudaEvent_t handle);

// Waits until what the event captured is done.
cudaError_t event_synchronize(cudaEvent_t handle);

// Makes what is queued on the stream later wait for what the event has captured now. An external wait
// is one of a stream that is being captured, for an event of outside.
cudaError_t event_make_stream_wait(cudaStream_t stream, cudaEvent_t handle, bool is_external);

cudaError_t event_elapsed_ms(cudaEvent_t start, cudaEvent_t end, float *ms);

// Number of the events that were created and not destroyed.
size_t event_count(void);

#endif
