#include "cuda/event.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "cuda/stream.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

enum { CUDA_EVENT_DISABLE_TIMING = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cuda_event *released_events;
static struct cuda_event *owned_events;

// ---- Lists, under the lock

static void add(struct cuda_event **list, struct cuda_event *event)
{
    event->previous = NULL;
    event->next = *list;
    if (*list != NULL) (*list)->previous = event;
    *list = event;
}

static void take_out(struct cuda_event **list, struct cuda_event *event)
{
    if (event->previous != NULL) event->previous->next = event->next;
    else *list = event->next;
    if (event->next != NULL) event->next->previous = event->previous;
}

static struct cuda_event *acquire_released(int device)
{
    pthread_mutex_lock(&lock);
    struct cuda_event *event = released_events;
    while (event != NULL && event->device != device) event = event->next;
    if (event != NULL) take_out(&released_events, event);
    pthread_mutex_unlock(&lock);
    return event;
}

// ---- Creating and recording

static enum memory_status create_handle(struct cuda_event *event)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, event->device);
    if (status != MEMORY_OK) return status;
    status =
        cudart_check(CUDART(cudaEventCreateWithFlags(&event->handle, CUDA_EVENT_DISABLE_TIMING)),
                     "cudaEventCreateWithFlags", "create an event on GPU %d", event->device);
    status = device_scope_leave(&scope, status);
    if (status != MEMORY_OK && event->handle != NULL) {
        (void)CUDART(cudaEventDestroy(event->handle));
    }
    return status;
}

static struct cuda_event *create(int device)
{
    struct cuda_event *event = malloc(sizeof *event);
    if (event == NULL) {
        message_add("failed to create an event on GPU %d: the system refuses memory", device);
        return NULL;
    }
    *event = (struct cuda_event){.device = device};
    if (create_handle(event) == MEMORY_OK) return event;
    free(event);
    return NULL;
}

static enum memory_status record(struct cuda_event *event, const struct cuda_stream *stream)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, event->device);
    if (status != MEMORY_OK) return status;
    status =
        cudart_check(CUDART(cudaEventRecord(event->handle, stream_handle(stream))),
                     "cudaEventRecord", "record an event on a stream of GPU %d", event->device);
    return device_scope_leave(&scope, status);
}

static struct cuda_event *record_for(const struct cuda_stream *stream, uint32_t owner)
{
    int device = (int)stream->device_id;
    struct cuda_event *event = acquire_released(device);
    if (event == NULL) event = create(device);
    if (event == NULL) return NULL;
    event->owner = owner;
    event->stream_id = whole_number(stream->id);
    event->mark = stream_mark_point(event->stream_id);
    if (owner != OWNER_PROCESS) {
        pthread_mutex_lock(&lock);
        add(&owned_events, event);
        pthread_mutex_unlock(&lock);
    }
    if (record(event, stream) == MEMORY_OK) return event;
    event_release(event);
    return NULL;
}

struct cuda_event *event_record(const struct cuda_stream *stream)
{
    return record_for(stream, OWNER_PROCESS);
}

void event_release(struct cuda_event *event)
{
    stream_forget_point(event->stream_id);
    pthread_mutex_lock(&lock);
    if (event->owner != OWNER_PROCESS) take_out(&owned_events, event);
    event->owner = OWNER_PROCESS;
    add(&released_events, event);
    pthread_mutex_unlock(&lock);
}

static struct cuda_event *first_of(uint32_t owner)
{
    pthread_mutex_lock(&lock);
    struct cuda_event *event = owned_events;
    while (event != NULL && event->owner != owner) event = event->next;
    pthread_mutex_unlock(&lock);
    return event;
}

void event_release_owner(uint32_t owner)
{
    struct cuda_event *event;
    while ((event = first_of(owner)) != NULL) event_release(event);
}

// ---- Asking

// The result of cudaEventQuery or cudaEventSynchronize. An error is noted.
static int ask(struct cuda_event *event, uint64_t stream_id, bool is_to_wait)
{
    struct device_scope scope;
    if (device_scope_enter(&scope, event->device) != MEMORY_OK) return CUDA_ERROR_NOT_READY;
    int error = is_to_wait ? CUDART(cudaEventSynchronize(event->handle))
                           : CUDART(cudaEventQuery(event->handle));
    if (error != 0 && error != CUDA_ERROR_NOT_READY) {
        stream_note_error(stream_id, error, is_to_wait ? "cudaEventSynchronize" : "cudaEventQuery");
    }
    (void)device_scope_leave(&scope, MEMORY_OK);
    return error;
}

bool event_is_done(struct cuda_event *event)
{
    return cuda_is_lost() || ask(event, event->stream_id, false) == 0 || cuda_is_lost();
}

bool event_wait(struct cuda_event *event, uint64_t stream_id)
{
    return cuda_is_lost() || ask(event, stream_id, true) == 0 || cuda_is_lost();
}

bool event_make_stream_wait(struct cuda_event *event, const struct cuda_stream *stream)
{
    struct device_scope scope;
    if (device_scope_enter(&scope, (int)stream->device_id) != MEMORY_OK) return false;
    int error = CUDART(cudaStreamWaitEvent(stream_handle(stream), event->handle, 0));
    if (error != 0) stream_note_error(whole_number(stream->id), error, "cudaStreamWaitEvent");
    return device_scope_leave(&scope, MEMORY_OK) == MEMORY_OK && error == 0;
}

// ---- Events that cross the boundary, as numbers

double cuda_event_record(const struct cuda_stream *stream)
{
    message_clear();
    if (cuda_is_lost())
        return cuda_refuse_as_lost("work on a stream of GPU %.0f", stream->device_id);
    struct cuda_event *event = record_for(stream, owner_of_thread());
    if (event != NULL) return (double)(uintptr_t)event;
    return cuda_is_lost() ? MEMORY_DEVICE_LOST : MEMORY_INTERNAL;
}

enum memory_status cuda_event_query(double address)
{
    message_clear();
    struct cuda_event *event = (struct cuda_event *)(uintptr_t)address;
    if (cuda_is_lost()) return cuda_refuse_as_lost("work on a stream of GPU %d", event->device);
    bool is_done = ask(event, event->stream_id, false) != CUDA_ERROR_NOT_READY;
    enum memory_status status = stream_error_since(event->stream_id, event->device, event->mark);
    if (status != MEMORY_OK) return status;
    return is_done ? MEMORY_OK : MEMORY_NOT_DONE;
}

void cuda_event_release(double address)
{
    event_release((struct cuda_event *)(uintptr_t)address);
}

// ---- Giving back

// As for streams: nothing is left of a lost CUDA, and the event may be gone after a failure.
static enum memory_status destroy(const struct cuda_event *event, bool *is_destroyed)
{
    *is_destroyed = cuda_is_lost();
    if (*is_destroyed) return MEMORY_OK;
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, event->device);
    if (status == MEMORY_OK) {
        status = cudart_check(CUDART(cudaEventDestroy(event->handle)), "cudaEventDestroy",
                              "destroy an event of GPU %d", event->device);
        *is_destroyed = status == MEMORY_OK;
        status = device_scope_leave(&scope, status);
    }
    if (!cuda_is_lost()) return status;
    *is_destroyed = true;
    return MEMORY_OK;
}

enum memory_status event_destroy_released(void)
{
    pthread_mutex_lock(&lock);
    struct cuda_event *event = released_events;
    released_events = NULL;
    pthread_mutex_unlock(&lock);
    enum memory_status status = MEMORY_OK;
    struct cuda_event *next;
    for (; event != NULL; event = next) {
        next = event->next;
        bool is_destroyed;
        enum memory_status destroyed = destroy(event, &is_destroyed);
        if (destroyed != MEMORY_OK) status = destroyed;
        if (is_destroyed) {
            free(event);
            continue;
        }
        pthread_mutex_lock(&lock);
        add(&released_events, event); // the next reset tries again
        pthread_mutex_unlock(&lock);
    }
    return status;
}
