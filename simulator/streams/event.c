#include "streams/event.h"

#include <stdlib.h>

#include "streams/event_record.h"
#include "streams/handle_table.h"
#include "streams/late_error.h"
#include "streams/stream_queue.h"

struct event {
    int device;
    bool has_timing;
    // NULL before the first.
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

// Queues the operation that stamps the record. The operation and the caller have a reference each.
static cudaError_t queue_stamp(struct stream *stream, struct event_record *record)
{
    struct operation operation = {.kind = OPERATION_STAMP, .record = record};
    event_record_keep(record);
    cudaError_t error = stream_queue(stream, &operation);
    if (error == cudaSuccess) record->point = point_of(stream);
    return error;
}

cudaError_t event_record_on(cudaEvent_t handle, cudaStream_t stream_handle)
{
    struct stream *stream;
    cudaError_t error = stream_find_for_work(stream_handle, &stream);
    if (error != cudaSuccess) return error;
    struct event *event = handle_table_find(&handles, handle);
    if (event == NULL || event->device != stream->device) return cudaErrorInvalidResourceHandle;
    struct event_record *record = event_record_new();
    if (record == NULL) return cudaErrorMemoryAllocation;
    error = queue_stamp(stream, record);
    if (error == cudaSuccess) replace_record(event, record);
    else event_record_release(record);
    return error;
}

// The late error of what the record captured. It has been reached.
static cudaError_t error_of(const struct event_record *record)
{
    return late_error_take(record->point.stream, record->point.sequence);
}

cudaError_t event_query(cudaEvent_t handle)
{
    const struct event *event = handle_table_find(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    cudaError_t error = late_error_of_device(event->device);
    if (error != cudaSuccess || event->record == NULL) return error;
    return point_reached(&event->record->point) ? error_of(event->record) : cudaErrorNotReady;
}

cudaError_t event_synchronize(cudaEvent_t handle)
{
    const struct event *event = handle_table_find(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    struct event_record *record = event->record;
    if (record == NULL) return late_error_of_device(event->device);
    event_record_keep(record);
    point_wait(&record->point);
    cudaError_t error = error_of(record);
    event_record_release(record);
    return error;
}

cudaError_t event_make_wait(cudaStream_t stream_handle, cudaEvent_t handle)
{
    struct stream *stream;
    cudaError_t error = stream_find_for_work(stream_handle, &stream);
    if (error != cudaSuccess) return error;
    const struct event *event = handle_table_find(&handles, handle);
    if (event == NULL) return cudaErrorInvalidResourceHandle;
    if (event->record == NULL || point_reached(&event->record->point)) return cudaSuccess;
    struct operation operation = {.kind = OPERATION_WAIT};
    if (!point_list_reserve(&operation.after, 1)) return cudaErrorMemoryAllocation;
    struct point point = event->record->point;
    stream_keep(point.stream);
    point_list_add(&operation.after, point);
    return stream_queue(stream, &operation);
}

static cudaError_t check_timed(const struct event *event)
{
    if (event == NULL || !event->has_timing || event->record == NULL) {
        return cudaErrorInvalidResourceHandle;
    }
    return point_reached(&event->record->point) ? cudaSuccess : cudaErrorNotReady;
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
