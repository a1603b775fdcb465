#include "streams/stream.h"

#include <stdlib.h>

#include "process/config.h"
#include "process/library_pin.h"
#include "process/thread_state.h"
#include "streams/handle_table.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle_table handles;
static struct stream *device_streams[MAX_DEVICE_COUNT];
static cudaError_t left_errors[MAX_DEVICE_COUNT];

// Made when they are first used, and never destroyed.
static struct stream *legacy_streams[MAX_DEVICE_COUNT];

// A thread's own default streams, by device: NULL until it uses them.
struct thread_streams {
    struct stream *streams[MAX_DEVICE_COUNT];
};
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static bool has_thread_key;

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

// NULL when there is no memory.
static struct stream *new_stream(int device, enum stream_kind kind)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    stream->device = device;
    stream->kind = kind;
    stream->reference_count = 1;
    pthread_cond_init(&stream->changed, NULL);
    link_to_device(stream);
    return stream;
}

void stream_keep(struct stream *stream)
{
    stream->reference_count++;
}

static void leave_error(const struct stream *stream)
{
    cudaError_t *left = &left_errors[stream->device];
    if (*left == cudaSuccess) *left = stream->late_error;
}

void stream_release(struct stream *stream)
{
    if (--stream->reference_count != 0) return;
    leave_error(stream);
    unlink_from_device(stream);
    pthread_cond_destroy(&stream->changed);
    free(stream);
}

// A worker releases the stream when it ends; without one, that is done here.
static void close_stream(struct stream *stream)
{
    stream->closed = true;
    if (stream->has_worker) pthread_cond_signal(&stream->changed);
    else stream_release(stream);
}

cudaError_t stream_create(int device, enum stream_kind kind, cudaStream_t *handle)
{
    struct stream *stream = new_stream(device, kind);
    if (stream == NULL) return cudaErrorMemoryAllocation;
    void *added = handle_table_add(&handles, stream);
    if (added == NULL) {
        stream_release(stream);
        return cudaErrorMemoryAllocation;
    }
    *handle = added;
    return cudaSuccess;
}

cudaError_t stream_destroy(cudaStream_t handle)
{
    struct stream *stream = handle_table_remove(&handles, handle);
    if (stream == NULL) return cudaErrorInvalidResourceHandle;
    close_stream(stream);
    return cudaSuccess;
}

// At the end of a thread that used default streams of its own.
static void close_thread_streams(void *value)
{
    struct thread_streams *own = value;
    streams_lock();
    for (int device = 0; device < MAX_DEVICE_COUNT; device++) {
        if (own->streams[device] != NULL) close_stream(own->streams[device]);
    }
    streams_unlock();
    free(own);
}

static void create_thread_key(void)
{
    library_pin();
    has_thread_key = pthread_key_create(&thread_key, close_thread_streams) == 0;
}

// Where the calling thread's default streams are, or NULL when there is no memory.
static struct thread_streams *thread_streams(void)
{
    pthread_once(&thread_key_once, create_thread_key);
    if (!has_thread_key) return NULL;
    struct thread_streams *own = pthread_getspecific(thread_key);
    if (own == NULL) {
        own = calloc(1, sizeof *own);
        if (own != NULL && pthread_setspecific(thread_key, own) != 0) {
            free(own);
            return NULL;
        }
    }
    return own;
}

// Where the thread finds the default stream with that handle, or NULL when there is no memory.
static struct stream **default_stream(cudaStream_t handle, int device)
{
    if (handle != cudaStreamPerThread) return &legacy_streams[device];
    struct thread_streams *own = thread_streams();
    return own == NULL ? NULL : &own->streams[device];
}

bool stream_is_legacy(cudaStream_t handle)
{
    return handle == NULL || handle == cudaStreamLegacy;
}

static cudaError_t find_default_stream(cudaStream_t handle, struct stream **stream)
{
    int device = thread_state.current_device;
    struct stream **place = default_stream(handle, device);
    if (place != NULL && *place == NULL) {
        *place = new_stream(device, stream_is_legacy(handle) ? STREAM_LEGACY : STREAM_BLOCKING);
    }
    if (place == NULL || *place == NULL) return cudaErrorMemoryAllocation;
    *stream = *place;
    return cudaSuccess;
}

cudaError_t stream_find(cudaStream_t handle, struct stream **stream)
{
    if (stream_is_legacy(handle) || handle == cudaStreamPerThread) {
        return find_default_stream(handle, stream);
    }
    *stream = handle_table_find(&handles, handle);
    return *stream == NULL ? cudaErrorInvalidResourceHandle : cudaSuccess;
}

bool stream_is_idle(const struct stream *stream)
{
    return stream->done_count == stream->queued_count;
}

struct stream *streams_of_device(int device)
{
    return device_streams[device];
}

cudaError_t *streams_left_error(int device)
{
    return &left_errors[device];
}

size_t stream_count(void)
{
    return handles.count;
}
