#include "streams/event.h"

#include <stdlib.h>

#include "streams/async_error.h"
#include "streams/capture.h"
#include "streams/event_record.h"
#include "streams/handle_table.h"
#include "streams/stream_queue.h"

struct event {
    int device;
    bool has_timing;
    // The latest record, or NULL before the first.
    struct event_record *record;
};

static struct handle_table handles;

cudaError_t event_create(int device, bool has_timing, cudaEvent_t *handle)
{
    struct event *event = calloc(1, sizeof *event);
    if (event == NULL) return cudaErrorMemoryAllocation;
    *event = (struct event){.device = device, .has_timing = has_timing};
    void *added = handle_table_add(&handles, event);
    if (added == NULL) {
        free(event);
        return cudaErrorMemoryAllocation;
    }
    *handle = added;
    return cudaSuccess;
}

static void replace_record(struct event *event, struct event_record *record)
{
    if (event->record != NULL) event_record_release(event->record);
    event->record = record;
}

cudaError_t event_destroy(cudaEvent_t handle)
{
    struct event *event = handle_table_remove(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    replace_record(event, NULL);
    free(event);
    return cudaSuccess;
}

// Queues the operation that performs the record. It and the caller have a reference to the record
// each.
static cudaError_t enqueue_record(struct stream *stream, struct event_record *record)
{
    struct operation operation = {.kind = OPERATION_EVENT_RECORD, .record = record};
    event_record_keep(record);
    cudaError_t error = stream_enqueue(stream, &operation);
    if (error == cudaSuccess) record->point = sync_point_of(stream);
    return error;
}

// Makes the event one that is captured, and performs nothing.
static cudaError_t capture_record(struct event *event, struct stream *stream)
{
    struct event_record *record = event_record_new();
    if (record == NULL) return cudaErrorMemoryAllocation;
    if (stream->capture->is_invalidated) {
        event_record_release(record);
        return cudaErrorStreamCaptureInvalidated;
    }
    capture_keep(stream->capture);
    record->capture = stream->capture;
    stream_keep(stream);
    record->captured_on = stream;
    record->captured_count = stream->captured_count;
    replace_record(event, record);
    return cudaSuccess;
}

cudaError_t event_record_on(cudaEvent_t handle, cudaStream_t stream_handle)
{
    struct stream *stream;
    cudaError_t error = stream_find_for_work(stream_handle, &stream);
    if (error != cudaSuccess) return error;
    struct event *event = handle_table_find(&handles, handle);
    if (event == NULL || event->device != stream->device) return cudaErrorInvalidResourceHandle;
    if (stream->capture != NULL) return capture_record(event, stream);
    struct event_record *record = event_record_new();
    if (record == NULL) return cudaErrorMemoryAllocation;
    error = enqueue_record(stream, record);
    if (error == cudaSuccess) replace_record(event, record);
    else event_record_release(record);
    return error;
}

static bool is_captured(const struct event *event)
{
    return event->record != NULL && event->record->capture != NULL;
}

// Whether a call may wait for the event, or ask whether it is done.
static cudaError_t check_waiting(const struct event *event)
{
    if (!is_captured(event)) return capture_check_unsafe();
    struct capture *capture = event->record->capture;
    if (capture->origin == NULL) return cudaErrorInvalidValue;
    capture_invalidate(capture);
    return cudaErrorCapturedEvent;
}

// Reports the asynchronous error of what the record captured, which is done.
static cudaError_t report_error(const struct event_record *record)
{
    return async_error_report(record->point.stream, record->point.sequence);
}

cudaError_t event_query(cudaEvent_t handle)
{
    const struct event *event = handle_table_find(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    cudaError_t error = sticky_error();
    if (error == cudaSuccess) error = check_waiting(event);
    if (error != cudaSuccess || event->record == NULL) return error;
    return sync_point_is_reached(&event->record->point) ? report_error(event->record)
                                                        : cudaErrorNotReady;
}

cudaError_t event_synchronize(cudaEvent_t handle)
{
    const struct event *event = handle_table_find(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    cudaError_t error = check_waiting(event);
    if (error != cudaSuccess) return error;
    struct event_record *record = event->record;
    if (record == NULL) return sticky_error();
    event_record_keep(record);
    sync_point_wait(&record->point);
    error = report_error(record);
    event_record_release(record);
    return error;
}

// A stream that is being captured waits for an event of outside only where that is said.
static cudaError_t wait_while_captured(struct stream *stream, const struct event *event,
                                       bool is_external)
{
    if (event->record == NULL || is_external) return capture_add(stream);
    capture_invalidate(stream->capture);
    return cudaErrorStreamCaptureIsolation;
}

cudaError_t event_make_stream_wait(cudaStream_t stream_handle, cudaEvent_t handle, bool is_external)
{
    struct stream *stream;
    cudaError_t error = stream_find_for_work(stream_handle, &stream);
    if (error != cudaSuccess) return error;
    const struct event *event = handle_table_find(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    if (is_captured(event)) {
        const struct event_record *record = event->record;
        return capture_join(stream, record->capture, record->captured_on, record->captured_count);
    }
    if (stream->capture != NULL) return wait_while_captured(stream, event, is_external);
    if (is_external) return cudaErrorIllegalState;
    if (event->record == NULL || sync_point_is_reached(&event->record->point)) return cudaSuccess;
    struct operation operation = {.kind = OPERATION_EVENT_WAIT};
    if (!sync_point_list_reserve(&operation.after, 1)) return cudaErrorMemoryAllocation;
    struct sync_point point = event->record->point;
    stream_keep(point.stream);
    sync_point_list_add(&operation.after, point);
    return stream_enqueue(stream, &operation);
}

// Whether the time of what the event captured can be told: cudaErrorNotReady until it is done.
static cudaError_t check_timed(const struct event *event)
{
    if (event == NULL || !event->has_timing || event->record == NULL) {
        return cudaErrorInvalidResourceHandle;
    }
    if (is_captured(event)) return cudaErrorCapturedEvent;
    return sync_point_is_reached(&event->record->point) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t event_elapsed_ms(cudaEvent_t start_handle, cudaEvent_t end_handle, float *ms)
{
    const struct event *start = handle_table_find(&handles, start_handle);
    const struct event *end = handle_table_find(&handles, end_handle);
    cudaError_t start_error = check_timed(start);
    cudaError_t end_error = check_timed(end);
    if (start_error == cudaErrorInvalidResourceHandle ||
        end_error == cudaErrorInvalidResourceHandle || start->device != end->device) {
        return cudaErrorInvalidResourceHandle;
    }
    if (start_error == cudaErrorCapturedEvent || end_error == cudaErrorCapturedEvent) {
        return cudaErrorCapturedEvent;
    }
    if (start_error != cudaSuccess || end_error != cudaSuccess) return cudaErrorNotReady;
    const struct timespec *from = &start->record->time;
    const struct timespec *to = &end->record->time;
    *ms = (float)((double)(to->tv_sec - from->tv_sec) * 1e3 +
                  (double)(to->tv_nsec - from->tv_nsec) / 1e6);
    return cudaSuccess;
}

size_t event_count(void)
{
    return handles.count;
}
