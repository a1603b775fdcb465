#include "cuda/event.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "cuda/known_stream.h"
#include "cuda/stream.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

enum { CUDA_EVENT_DISABLE_TIMING = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cuda_event *released_events[DEVICE_COUNT_MAX];
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
    struct cuda_event *event = released_events[device];
    if (event != NULL) take_out(&released_events[device], event);
    pthread_mutex_unlock(&lock);
    return event;
}

static void add_released(struct cuda_event *event)
{
    pthread_mutex_lock(&lock);
    add(&released_events[event->device], event);
    pthread_mutex_unlock(&lock);
}

// ---- Creating and recording

static enum memory_status create_handle(void **handle, int device)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(CUDART(cudaEventCreateWithFlags(handle, CUDA_EVENT_DISABLE_TIMING)),
                          "cudaEventCreateWithFlags", "create an event on GPU %d", device);
    if (status != MEMORY_OK) *handle = NULL;
    return device_scope_leave(&scope, status);
}

// An event that was created while something else failed is not lost: it is a released one.
static enum memory_status create(int device, struct cuda_event **created)
{
    struct cuda_event *event = malloc(sizeof *event);
    if (event == NULL) {
        message_add("failed to create an event on GPU %d: the system refuses memory", device);
        return MEMORY_INTERNAL;
    }
    *event = (struct cuda_event){.device = device};
    enum memory_status status = create_handle(&event->handle, device);
    *created = event;
    if (status == MEMORY_OK) return MEMORY_OK;
    if (event->handle != NULL) add_released(event);
    else free(event);
    return status;
}

static enum memory_status record(struct cuda_event *event, const struct cuda_stream *stream)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, event->device);
    if (status != MEMORY_OK) return status;
    int error;
    status = stream_check_in_scope(stream, &error);
    if (status == MEMORY_OK) {
        status =
            cudart_check(CUDART(cudaEventRecord(event->handle, stream_handle(stream))),
                         "cudaEventRecord", "record an event on a stream of GPU %d", event->device);
    }
    return device_scope_leave(&scope, status);
}

static enum memory_status record_for(const struct cuda_stream *stream, uint32_t owner,
                                     struct cuda_event **recorded)
{
    int device = (int)stream->device_id;
    struct cuda_event *event = acquire_released(device);
    if (event == NULL) {
        enum memory_status created = create(device, &event);
        if (created != MEMORY_OK) return created;
    }
    event->owner = owner;
    event->stream_id = whole_number(stream->id);
    event->known = known_stream_mark_point(event->stream_id, &event->mark);
    if (owner != OWNER_PROCESS) {
        pthread_mutex_lock(&lock);
        add(&owned_events, event);
        pthread_mutex_unlock(&lock);
    }
    enum memory_status status = record(event, stream);
    if (status == MEMORY_OK) *recorded = event;
    else event_release(event);
    return status;
}

enum memory_status event_record(const struct cuda_stream *stream, struct cuda_event **event)
{
    return record_for(stream, OWNER_PROCESS, event);
}

void event_release(struct cuda_event *event)
{
    known_stream_forget_point(event->known);
    event->known = NULL;
    pthread_mutex_lock(&lock);
    if (event->owner != OWNER_PROCESS) take_out(&owned_events, event);
    event->owner = OWNER_PROCESS;
    add(&released_events[event->device], event);
    pthread_mutex_unlock(&lock);
}

// Takes the owner's events out of the list of those that are owned, as a list.
static struct cuda_event *take_owned(uint32_t owner)
{
    struct cuda_event *taken = NULL, *next;
    pthread_mutex_lock(&lock);
    for (struct cuda_event *event = owned_events; event != NULL; event = next) {
        next = event->next;
        if (event->owner != owner) continue;
        take_out(&owned_events, event);
        event->owner = OWNER_PROCESS;
        add(&taken, event);
    }
    pthread_mutex_unlock(&lock);
    return taken;
}

void event_release_owner(uint32_t owner)
{
    struct cuda_event *next;
    for (struct cuda_event *event = take_owned(owner); event != NULL; event = next) {
        next = event->next;
        event_release(event);
    }
}

// ---- Asking

// Notes an error as one of a stream's work, for callers that have another way and go it in silence.
static void note(struct known_stream *known, int error, const char *function)
{
    known_stream_begin_asking(known);
    known_stream_end_asking(known, error, function);
}

// MEMORY_OK where the point has been passed, or MEMORY_NOT_DONE. Where CUDA answers with an error it is
// noted, and returned in `*error`; a failure of the scope has a message.
static enum memory_status ask(const struct cuda_event *event, struct device_scope *scope,
                              int *error)
{
    *error = 0;
    enum memory_status status = device_scope_enter(scope, event->device);
    if (status != MEMORY_OK) return status;
    known_stream_begin_asking(event->known);
    *error = CUDART(cudaEventQuery(event->handle));
    known_stream_end_asking(event->known, *error, "cudaEventQuery");
    bool is_ready = *error != CUDA_ERROR_NOT_READY;
    if (!is_ready) *error = 0;
    return device_scope_leave(scope, is_ready ? MEMORY_OK : MEMORY_NOT_DONE);
}

enum event_progress event_progress(struct cuda_event *event)
{
    if (cuda_is_lost()) return EVENT_PASSED;
    struct device_scope scope;
    int error;
    enum memory_status status = ask(event, &scope, &error);
    if (scope.error != 0) note(event->known, scope.error, scope.function);
    if (cuda_is_lost()) return EVENT_PASSED;
    if (error != 0) return EVENT_ERROR;
    return status == MEMORY_OK ? EVENT_PASSED : EVENT_NOT_PASSED;
}

static enum memory_status wait_in_scope(const struct cuda_event *event,
                                        const struct cuda_stream *stream,
                                        struct known_stream *known)
{
    int error;
    enum memory_status status = stream_check_in_scope(stream, &error);
    if (error != 0) note(known, error, "cudaStreamIsCapturing");
    if (status != MEMORY_OK) return status;
    error = CUDART(cudaStreamWaitEvent(stream_handle(stream), event->handle, 0));
    if (error != 0) note(known, error, "cudaStreamWaitEvent");
    return cudart_check(error, "cudaStreamWaitEvent", "make a stream of GPU %.0f wait for another",
                        stream->device_id);
}

enum memory_status event_make_stream_wait(struct cuda_event *event,
                                          const struct cuda_stream *stream)
{
    uint64_t mark;
    struct known_stream *known = known_stream_mark_point(whole_number(stream->id), &mark);
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, (int)stream->device_id);
    if (status == MEMORY_OK) {
        status = device_scope_leave(&scope, wait_in_scope(event, stream, known));
    }
    if (scope.error != 0) note(known, scope.error, scope.function);
    known_stream_forget_point(known);
    return status;
}

// ---- Events that cross the boundary, as numbers

double cuda_event_record(const struct cuda_stream *stream)
{
    message_clear();
    if (cuda_is_lost()) return stream_refuse_as_lost(stream->device_id);
    struct cuda_event *event;
    enum memory_status status = record_for(stream, owner_of_thread(), &event);
    return status == MEMORY_OK ? (double)(uintptr_t)event : status;
}

enum memory_status cuda_event_query(double address)
{
    message_clear();
    const struct cuda_event *event = (struct cuda_event *)(uintptr_t)address;
    if (cuda_is_lost()) return stream_refuse_as_lost(event->device);
    struct device_scope scope;
    int error;
    enum memory_status status = ask(event, &scope, &error);
    if (cuda_is_lost()) return stream_refuse_as_lost(event->device);
    if (status < MEMORY_OK) return status;
    bool is_asked = known_stream_is_asked(event->known);
    enum memory_status found = known_stream_error_since(event->known, event->mark);
    if (found != MEMORY_OK) return found;
    // Without a stream that is known, nobody has noted it.
    if (error != 0) return cudart_check(error, "cudaEventQuery", "work on a stream");
    return is_asked ? MEMORY_NOT_DONE : status;
}

enum memory_status cuda_event_is_over(double address)
{
    message_clear();
    return event_progress((struct cuda_event *)(uintptr_t)address) == EVENT_PASSED
               ? MEMORY_OK
               : MEMORY_NOT_DONE;
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

static enum memory_status destroy_released_of(int device)
{
    pthread_mutex_lock(&lock);
    struct cuda_event *event = released_events[device];
    released_events[device] = NULL;
    pthread_mutex_unlock(&lock);
    enum memory_status status = MEMORY_OK;
    struct cuda_event *next;
    for (; event != NULL; event = next) {
        next = event->next;
        bool is_destroyed;
        enum memory_status destroyed = destroy(event, &is_destroyed);
        if (destroyed != MEMORY_OK) status = destroyed;
        if (is_destroyed) free(event);
        else add_released(event); // the next reset tries again
    }
    return status;
}

enum memory_status event_destroy_released(void)
{
    enum memory_status status = MEMORY_OK;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        enum memory_status destroyed = destroy_released_of(device);
        if (destroyed != MEMORY_OK) status = destroyed;
    }
    return status;
}
