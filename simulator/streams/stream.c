#include "streams/stream.h"

#include <assert.h>
#include <stdlib.h>

#include "process/config.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct stream *device_streams[DEVICE_COUNT_MAX];
static cudaError_t inherited_errors[DEVICE_COUNT_MAX];

void streams_lock(void)
{
    pthread_mutex_lock(&lock);
}

void streams_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void streams_wait(pthread_cond_t *condition)
{
    pthread_cond_wait(condition, &lock);
}

static void link_to_device(struct stream *stream)
{
    struct stream **first = &device_streams[stream->device];
    stream->next = *first;
    if (*first != NULL) (*first)->previous = stream;
    *first = stream;
}

static void unlink_from_device(struct stream *stream)
{
    if (stream->previous != NULL) stream->previous->next = stream->next;
    else device_streams[stream->device] = stream->next;
    if (stream->next != NULL) stream->next->previous = stream->previous;
}

struct stream *stream_new(int device, enum stream_kind kind)
{
    assert(config_has_device(device));
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->device = device;
    stream->kind = kind;
    stream->reference_count = 1;
    pthread_cond_init(&stream->changed, NULL);
    link_to_device(stream);
    return stream;
}

void stream_close(struct stream *stream)
{
    assert(!stream->is_closed);
    stream->is_closed = true;
    // The worker releases the stream when it ends.
    if (stream->has_worker) pthread_cond_signal(&stream->changed);
    else stream_release(stream);
}

void stream_keep(struct stream *stream)
{
    stream->reference_count++;
}

static void bequeath_error(const struct stream *stream)
{
    cudaError_t *inherited = device_inherited_error(stream->device);
    if (*inherited == cudaSuccess) *inherited = stream->async_error;
}

void stream_release(struct stream *stream)
{
    assert(stream->reference_count != 0);
    if (--stream->reference_count != 0) return;
    assert(stream->first == NULL && stream->waiters == NULL && stream_is_idle(stream));
    bequeath_error(stream);
    unlink_from_device(stream);
    pthread_cond_destroy(&stream->changed);
    free(stream);
}

bool stream_is_idle(const struct stream *stream)
{
    return stream->done_count == stream->queued_count;
}

struct stream *streams_of_device(int device)
{
    return device_streams[device];
}

cudaError_t *device_inherited_error(int device)
{
    return &inherited_errors[device];
}
