#include "cuda/event.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "cuda/stream.h"
#include "message.h"

enum { CUDA_EVENT_DISABLE_TIMING = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cuda_event *released_events;

static struct cuda_event *acquire_released(int device)
{
    pthread_mutex_lock(&lock);
    struct cuda_event **link = &released_events;
    while (*link != NULL && (*link)->device != device) link = &(*link)->next;
    struct cuda_event *event = *link;
    if (event != NULL) *link = event->next;
    pthread_mutex_unlock(&lock);
    return event;
}

static enum memory_status create_handle(struct cuda_event *event)
{
    int saved_device;
    enum memory_status status = cudart_enter_device(event->device, &saved_device);
    if (status != MEMORY_OK) return status;
    status =
        cudart_check(cudart.cudaEventCreateWithFlags(&event->handle, CUDA_EVENT_DISABLE_TIMING),
                     "cudaEventCreateWithFlags", "create an event on GPU %d", event->device);
    status = cudart_leave_device(event->device, saved_device, status);
    if (status != MEMORY_OK && event->handle != NULL) (void)cudart.cudaEventDestroy(event->handle);
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

struct cuda_event *event_record(const struct cuda_stream *stream)
{
    int device = (int)stream->device_id;
    struct cuda_event *event = acquire_released(device);
    if (event == NULL) event = create(device);
    if (event == NULL) return NULL;
    event->stream_id = (uint64_t)stream->id;
    int error = cudart.cudaEventRecord(event->handle, stream_handle(stream));
    if (cudart_check(error, "cudaEventRecord", "record an event on a stream of GPU %d", device) ==
        MEMORY_OK) {
        return event;
    }
    event_release(event);
    return NULL;
}

// ---- Events that cross the boundary, as numbers

double cuda_event_record(const struct cuda_stream *stream)
{
    message_clear();
    struct cuda_event *event = event_record(stream);
    return event != NULL ? (double)(uintptr_t)event : MEMORY_INTERNAL;
}

enum memory_status cuda_event_query(double address)
{
    message_clear();
    struct cuda_event *event = (struct cuda_event *)(uintptr_t)address;
    enum memory_status status =
        cudart_check_done(cudart.cudaEventQuery(event->handle), "cudaEventQuery",
                          "work on a stream of GPU %d", event->device);
    if (status != MEMORY_OK) return status;
    return stream_take_noted_error(event->stream_id, event->device);
}

void cuda_event_release(double address)
{
    event_release((struct cuda_event *)(uintptr_t)address);
}

// ---- Events of memory that was freed on a stream

enum event_progress event_progress(struct cuda_event *event)
{
    int error = cudart.cudaEventQuery(event->handle);
    if (error == 0) return EVENT_PASSED;
    if (error == CUDA_ERROR_NOT_READY) return EVENT_NOT_PASSED;
    stream_note_error(event->stream_id, error, "cudaEventQuery");
    return EVENT_ERROR;
}

bool event_make_stream_wait(struct cuda_event *event, const struct cuda_stream *stream)
{
    int error = cudart.cudaStreamWaitEvent(stream_handle(stream), event->handle, 0);
    if (error == 0) return true;
    stream_note_error((uint64_t)stream->id, error, "cudaStreamWaitEvent");
    return false;
}

void event_release(struct cuda_event *event)
{
    pthread_mutex_lock(&lock);
    event->next = released_events;
    released_events = event;
    pthread_mutex_unlock(&lock);
}

enum memory_status event_destroy_released(void)
{
    pthread_mutex_lock(&lock);
    struct cuda_event *event = released_events;
    released_events = NULL;
    pthread_mutex_unlock(&lock);
    enum memory_status status = MEMORY_OK;
    while (event != NULL) {
        struct cuda_event *next = event->next;
        enum memory_status destroyed =
            cudart_check(cudart.cudaEventDestroy(event->handle), "cudaEventDestroy",
                         "destroy an event of GPU %d", event->device);
        if (destroyed == MEMORY_OK) {
            free(event);
        } else {
            status = destroyed;
            event_release(event); // the next reset tries again
        }
        event = next;
    }
    return status;
}
