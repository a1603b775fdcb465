// Streams: queues of work for a GPU.

#include "cuda/stream.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "message.h"
#include "whole_number.h"

enum { CUDA_STREAM_NON_BLOCKING = 1 };

// A stream that was created and not destroyed. The place for its error is here, so that no error is
// lost for lack of memory, and none is kept that nobody can ask for.
struct known_stream {
    struct known_stream *next;
    struct cuda_stream stream;
    bool is_released;
    bool is_being_destroyed;
    // The first error that nobody has been told, or 0; and the function that returned it.
    int error;
    const char *function;
};

// Guards the three that follow.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool has_had_streams[DEVICE_COUNT_MAX];
static uint64_t last_id;
static struct known_stream *known_streams;

void *stream_handle(const struct cuda_stream *stream)
{
    return (void *)(uintptr_t)stream->handle;
}

// Null for a stream that was destroyed. The caller holds the lock.
static struct known_stream *find_known(uint64_t stream_id)
{
    struct known_stream *known = known_streams;
    while (known != NULL && (uint64_t)known->stream.id != stream_id) known = known->next;
    return known;
}

// ---- Errors that were found on behalf of somebody else

void stream_note_error(uint64_t stream_id, int error, const char *function)
{
    cudart_clear_last_error();
    pthread_mutex_lock(&lock);
    struct known_stream *known = find_known(stream_id);
    if (known != NULL && known->error == 0) {
        known->error = error;
        known->function = function;
    }
    pthread_mutex_unlock(&lock);
}

enum memory_status stream_take_noted_error(uint64_t stream_id, double device_id)
{
    int error = 0;
    const char *function = NULL;
    pthread_mutex_lock(&lock);
    struct known_stream *known = find_known(stream_id);
    if (known != NULL) {
        error = known->error;
        function = known->function;
        known->error = 0;
    }
    pthread_mutex_unlock(&lock);
    return cudart_check(error, function, "work on a stream of GPU %.0f", device_id);
}

// ---- Creating and destroying

static enum memory_status create_handle(void **handle, int device)
{
    int saved_device;
    enum memory_status status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaStreamCreateWithFlags(handle, CUDA_STREAM_NON_BLOCKING),
                          "cudaStreamCreateWithFlags", "create a stream on GPU %d", device);
    bool is_created = status == MEMORY_OK;
    status = cudart_leave_device(device, saved_device, status);
    if (status != MEMORY_OK && is_created) (void)cudart.cudaStreamDestroy(*handle);
    return status;
}

enum memory_status cuda_stream_create(struct cuda_stream *stream, double device_id)
{
    message_clear();
    if (!cudart_is_bound() || device_id >= DEVICE_COUNT_MAX) {
        return message_set(MEMORY_UNAVAILABLE, "failed to create a stream on GPU %.0f: %s",
                           device_id,
                           cudart_is_bound() ? "there is no such GPU" : "there is no CUDA runtime");
    }
    struct known_stream *known = malloc(sizeof *known);
    if (known == NULL) {
        return message_set(MEMORY_INTERNAL,
                           "failed to create a stream on GPU %.0f: the system refuses memory",
                           device_id);
    }
    int device = (int)device_id;
    void *handle;
    enum memory_status status = create_handle(&handle, device);
    if (status != MEMORY_OK) {
        free(known);
        return status;
    }
    pthread_mutex_lock(&lock);
    // CUDA may give a handle again while work of the stream that had it before is still under way.
    *stream = (struct cuda_stream){.handle = (double)(uintptr_t)handle,
                                   .device_id = device_id,
                                   .id = from_whole_number(++last_id)};
    *known = (struct known_stream){.stream = *stream};
    has_had_streams[device] = true;
    known->next = known_streams;
    known_streams = known;
    pthread_mutex_unlock(&lock);
    return MEMORY_OK;
}

static void forget(uint64_t stream_id)
{
    pthread_mutex_lock(&lock);
    struct known_stream **link = &known_streams;
    while (*link != NULL && (uint64_t)(*link)->stream.id != stream_id) link = &(*link)->next;
    struct known_stream *known = *link;
    if (known != NULL) *link = known->next;
    pthread_mutex_unlock(&lock);
    free(known);
}

static enum memory_status destroy_handle(const struct cuda_stream *stream)
{
    return cudart_check(cudart.cudaStreamDestroy(stream_handle(stream)), "cudaStreamDestroy",
                        "destroy a stream of GPU %.0f", stream->device_id);
}

static void set_being_destroyed(uint64_t stream_id, bool is_being_destroyed)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = find_known(stream_id);
    if (known != NULL) known->is_being_destroyed = is_being_destroyed;
    pthread_mutex_unlock(&lock);
}

enum memory_status cuda_stream_destroy(const struct cuda_stream *stream)
{
    message_clear();
    set_being_destroyed((uint64_t)stream->id, true);
    enum memory_status status = destroy_handle(stream);
    if (status != MEMORY_OK) set_being_destroyed((uint64_t)stream->id, false);
    if (status == MEMORY_OK) forget((uint64_t)stream->id);
    else cuda_stream_release(stream); // the next reset tries again
    return status;
}

// ---- Released streams

static bool acquire_released(struct cuda_stream *stream, double device_id)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = known_streams;
    while (known != NULL && !(known->is_released && known->stream.device_id == device_id)) {
        known = known->next;
    }
    if (known != NULL) {
        known->is_released = false;
        *stream = known->stream;
    }
    pthread_mutex_unlock(&lock);
    return known != NULL;
}

enum memory_status cuda_stream_acquire(struct cuda_stream *stream, double device_id)
{
    return acquire_released(stream, device_id) ? MEMORY_OK : cuda_stream_create(stream, device_id);
}

void cuda_stream_release(const struct cuda_stream *stream)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = find_known((uint64_t)stream->id);
    if (known != NULL) {
        known->error = 0; // the owner that it was kept for asks no more
        known->is_released = true;
    }
    pthread_mutex_unlock(&lock);
}

enum memory_status stream_destroy_released(void)
{
    enum memory_status status = MEMORY_OK;
    pthread_mutex_lock(&lock);
    for (struct known_stream **link = &known_streams; *link != NULL;) {
        struct known_stream *known = *link;
        enum memory_status destroyed =
            known->is_released ? destroy_handle(&known->stream) : MEMORY_OK;
        if (known->is_released && destroyed == MEMORY_OK) {
            *link = known->next;
            free(known);
        } else {
            link = &known->next; // the next reset tries again
        }
        if (destroyed != MEMORY_OK) status = destroyed;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Waiting

bool stream_is_idle(uint64_t stream_id)
{
    // Under the lock, because nothing may be asked about a stream that is being destroyed.
    pthread_mutex_lock(&lock);
    const struct known_stream *known = find_known(stream_id);
    bool can_ask = known != NULL && !known->is_being_destroyed;
    int error = can_ask ? cudart.cudaStreamQuery(stream_handle(&known->stream)) : 0;
    pthread_mutex_unlock(&lock);
    if (error != 0 && error != CUDA_ERROR_NOT_READY) {
        stream_note_error(stream_id, error, "cudaStreamQuery");
    }
    return can_ask && error == 0;
}

enum memory_status cuda_stream_query(const struct cuda_stream *stream)
{
    message_clear();
    int error = cudart.cudaStreamQuery(stream_handle(stream));
    enum memory_status status = cudart_check_done(
        error, "cudaStreamQuery", "work on a stream of GPU %.0f", stream->device_id);
    if (status != MEMORY_OK) return status;
    return stream_take_noted_error((uint64_t)stream->id, stream->device_id);
}

enum memory_status cuda_stream_synchronize(const struct cuda_stream *stream)
{
    message_clear();
    int error = cudart.cudaStreamSynchronize(stream_handle(stream));
    enum memory_status status = cudart_check(error, "cudaStreamSynchronize",
                                             "work on a stream of GPU %.0f", stream->device_id);
    if (status != MEMORY_OK) return status;
    return stream_take_noted_error((uint64_t)stream->id, stream->device_id);
}

static enum memory_status wait_for_device(int device)
{
    int saved_device;
    enum memory_status status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaDeviceSynchronize(), "cudaDeviceSynchronize",
                          "wait for the work of GPU %d", device);
    return cudart_leave_device(device, saved_device, status);
}

enum memory_status stream_synchronize_all(void)
{
    bool is_to_wait_for[DEVICE_COUNT_MAX];
    pthread_mutex_lock(&lock);
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        is_to_wait_for[device] = has_had_streams[device];
    }
    pthread_mutex_unlock(&lock);
    enum memory_status status = MEMORY_OK;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (!is_to_wait_for[device]) continue;
        enum memory_status device_status = wait_for_device(device);
        if (device_status != MEMORY_OK) status = device_status;
    }
    return status;
}
