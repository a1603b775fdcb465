#include "cuda/event.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "cuda/stream.h"
#include "message.h"

enum { CUDA_EVENT_DISABLE_TIMING = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cuda_event *idle_events;

static struct cuda_event *take_idle(int device)
{
    pthread_mutex_lock(&lock);
    struct cuda_event **link = &idle_events;
    while (*link != NULL && (*link)->device != device) link = &(*link)->next;
    struct cuda_event *event = *link;
    if (event != NULL) *link = event->next;
    pthread_mutex_unlock(&lock);
    return event;
}

static int32_t create_handle(struct cuda_event *event)
{
    int saved_device;
    int32_t status = cudart_enter_device(event->device, &saved_device);
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

struct cuda_event *cuda_event_after(const struct memory_stream *stream)
{
    int device = (int)stream->device_id;
    struct cuda_event *event = take_idle(device);
    if (event == NULL) event = create(device);
    if (event == NULL) return NULL;
    event->stream_id = (uint64_t)stream->id;
    int error = cudart.cudaEventRecord(event->handle, cuda_stream_handle(stream));
    if (cudart_check(error, "cudaEventRecord", "record an event on a stream of GPU %d", device) ==
        MEMORY_OK) {
        return event;
    }
    cuda_event_recycle(event);
    return NULL;
}

// ---- For the owner of the stream

double cuda_event_record(const struct memory_stream *stream)
{
    message_clear();
    return (double)(uintptr_t)cuda_event_after(stream);
}

int32_t cuda_event_query(double address)
{
    message_clear();
    struct cuda_event *event = (struct cuda_event *)(uintptr_t)address;
    int32_t status = cudart_check_done(cudart.cudaEventQuery(event->handle), "cudaEventQuery",
                                       "work on a stream of GPU %d", event->device);
    if (status != MEMORY_OK) return status;
    return cuda_stream_check_noted(event->stream_id, event->device);
}

void cuda_event_give(double address)
{
    cuda_event_recycle((struct cuda_event *)(uintptr_t)address);
}

// ---- For whoever frees memory after it

bool cuda_event_has_passed(struct cuda_event *event)
{
    int error = cudart.cudaEventQuery(event->handle);
    if (error == 0) return true;
    if (error != CUDA_ERROR_NOT_READY) cuda_stream_note(event->stream_id, error, "cudaEventQuery");
    return false;
}

bool cuda_event_wait(struct cuda_event *event, uint64_t stream_id)
{
    int error = cudart.cudaEventSynchronize(event->handle);
    if (error == 0) return true;
    cuda_stream_note(stream_id, error, "cudaEventSynchronize");
    return false;
}

bool cuda_event_hold_back(struct cuda_event *event, const struct memory_stream *stream)
{
    int error = cudart.cudaStreamWaitEvent(cuda_stream_handle(stream), event->handle, 0);
    if (error == 0) return true;
    cuda_stream_note((uint64_t)stream->id, error, "cudaStreamWaitEvent");
    return false;
}

void cuda_event_recycle(struct cuda_event *event)
{
    pthread_mutex_lock(&lock);
    event->next = idle_events;
    idle_events = event;
    pthread_mutex_unlock(&lock);
}

int32_t cuda_event_destroy_idle(void)
{
    pthread_mutex_lock(&lock);
    struct cuda_event *event = idle_events;
    idle_events = NULL;
    pthread_mutex_unlock(&lock);
    int32_t status = MEMORY_OK;
    while (event != NULL) {
        struct cuda_event *next = event->next;
        int32_t destroyed = cudart_check(cudart.cudaEventDestroy(event->handle), "cudaEventDestroy",
                                         "destroy an event of GPU %d", event->device);
        if (destroyed == MEMORY_OK) {
            free(event);
        } else {
            status = destroyed;
            cuda_event_recycle(event); // not lost: the next reset tries again
        }
        event = next;
    }
    return status;
}
