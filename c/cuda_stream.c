// Streams: queues of work for a GPU.

#include "cuda_stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "cudart.h"
#include "message.h"

enum {
    DEVICE_COUNT_MAX = 128,
    CUDA_STREAM_NON_BLOCKING = 1,
};

// Guards everything below but the ids.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool has_had_streams[DEVICE_COUNT_MAX];

struct idle_stream {
    struct idle_stream *next;
    struct memory_stream stream;
};
static struct idle_stream *idle_streams;

struct noted_error {
    struct noted_error *next;
    uint64_t stream_id;
    int error;
    const char *function;
};
static struct noted_error *noted_errors;

void *cuda_stream_handle(const struct memory_stream *stream)
{
    return (void *)(uintptr_t)stream->handle;
}

// ---- Errors that were found on behalf of somebody else

static struct noted_error *take_error(uint64_t stream_id)
{
    pthread_mutex_lock(&lock);
    struct noted_error **link = &noted_errors;
    while (*link != NULL && (*link)->stream_id != stream_id) link = &(*link)->next;
    struct noted_error *noted = *link;
    if (noted != NULL) *link = noted->next;
    pthread_mutex_unlock(&lock);
    return noted;
}

static void forget_error(uint64_t stream_id)
{
    free(take_error(stream_id));
}

void cuda_stream_note(uint64_t stream_id, int error, const char *function)
{
    (void)cudart.cudaGetLastError(); // this thread's next user of CUDA must not find it
    struct noted_error *noted = take_error(stream_id); // of several the first is kept
    if (noted == NULL) {
        noted = malloc(sizeof *noted);
        if (noted == NULL) return;
        *noted = (struct noted_error){
            .stream_id = stream_id, .error = error, .function = function};
    }
    pthread_mutex_lock(&lock);
    noted->next = noted_errors;
    noted_errors = noted;
    pthread_mutex_unlock(&lock);
}

// ---- Creating and destroying

int32_t cuda_stream_create(struct memory_stream *stream, double device_id)
{
    message_clear();
    if (!cudart_is_bound() || device_id >= DEVICE_COUNT_MAX) {
        return message_set(MEMORY_UNAVAILABLE, "failed to create a stream on GPU %.0f: %s",
                           device_id,
                           cudart_is_bound() ? "there is no such GPU" : "there is no CUDA runtime");
    }
    int device = (int)device_id;
    int saved_device;
    int32_t status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    void *handle = NULL;
    status = cudart_check(cudart.cudaStreamCreateWithFlags(&handle, CUDA_STREAM_NON_BLOCKING),
                          "cudaStreamCreateWithFlags", "create a stream on GPU %d", device);
    bool is_created = status == MEMORY_OK;
    status = cudart_leave_device(device, saved_device, status);
    if (status != MEMORY_OK) {
        if (is_created) (void)cudart.cudaStreamDestroy(handle);
        return status;
    }
    // CUDA may give a handle again while work of the stream that had it before is still under way.
    static _Atomic uint64_t last_id;
    *stream = (struct memory_stream){
        .handle = (double)(uintptr_t)handle,
        .device_id = device_id,
        .id = (double)(atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1)};
    pthread_mutex_lock(&lock);
    has_had_streams[device] = true;
    pthread_mutex_unlock(&lock);
    return MEMORY_OK;
}

int32_t cuda_stream_destroy(const struct memory_stream *stream)
{
    message_clear();
    forget_error((uint64_t)stream->id);
    return cudart_check(cudart.cudaStreamDestroy(cuda_stream_handle(stream)), "cudaStreamDestroy",
                        "destroy a stream of GPU %.0f", stream->device_id);
}

// ---- Idle streams

int32_t cuda_stream_take(struct memory_stream *stream, double device_id)
{
    pthread_mutex_lock(&lock);
    struct idle_stream **link = &idle_streams;
    while (*link != NULL && (*link)->stream.device_id != device_id) link = &(*link)->next;
    struct idle_stream *idle = *link;
    if (idle != NULL) *link = idle->next;
    pthread_mutex_unlock(&lock);
    if (idle == NULL) return cuda_stream_create(stream, device_id);
    *stream = idle->stream;
    free(idle);
    return MEMORY_OK;
}

int32_t cuda_stream_give(const struct memory_stream *stream)
{
    struct idle_stream *idle = malloc(sizeof *idle);
    if (idle == NULL) return cuda_stream_destroy(stream);
    forget_error((uint64_t)stream->id);
    idle->stream = *stream;
    pthread_mutex_lock(&lock);
    idle->next = idle_streams;
    idle_streams = idle;
    pthread_mutex_unlock(&lock);
    return MEMORY_OK;
}

int32_t cuda_stream_destroy_idle(void)
{
    int32_t status = MEMORY_OK;
    pthread_mutex_lock(&lock);
    struct idle_stream *idle = idle_streams;
    idle_streams = NULL;
    pthread_mutex_unlock(&lock);
    while (idle != NULL) {
        struct idle_stream *next = idle->next;
        int error = cudart.cudaStreamDestroy(cuda_stream_handle(&idle->stream));
        int32_t destroyed = cudart_check(error, "cudaStreamDestroy",
                                         "destroy a stream of GPU %.0f", idle->stream.device_id);
        if (destroyed != MEMORY_OK) status = destroyed;
        free(idle);
        idle = next;
    }
    return status;
}

// ---- Waiting

int32_t cuda_stream_check_noted(uint64_t stream_id, double device_id)
{
    struct noted_error *noted = take_error(stream_id);
    if (noted == NULL) return MEMORY_OK;
    int32_t status = cudart_check(noted->error, noted->function, "work on a stream of GPU %.0f",
                                  device_id);
    free(noted);
    return status;
}

int32_t cuda_stream_query(const struct memory_stream *stream)
{
    message_clear();
    int error = cudart.cudaStreamQuery(cuda_stream_handle(stream));
    int32_t status = cudart_check_done(error, "cudaStreamQuery", "work on a stream of GPU %.0f",
                                       stream->device_id);
    return status == MEMORY_OK ? cuda_stream_check_noted((uint64_t)stream->id, stream->device_id) : status;
}

int32_t cuda_stream_synchronize(const struct memory_stream *stream)
{
    message_clear();
    int error = cudart.cudaStreamSynchronize(cuda_stream_handle(stream));
    int32_t status = cudart_check(error, "cudaStreamSynchronize", "work on a stream of GPU %.0f",
                                  stream->device_id);
    return status == MEMORY_OK ? cuda_stream_check_noted((uint64_t)stream->id, stream->device_id) : status;
}

static int32_t wait_for_device(int device)
{
    int saved_device;
    int32_t status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaDeviceSynchronize(), "cudaDeviceSynchronize",
                          "wait for the work of GPU %d", device);
    return cudart_leave_device(device, saved_device, status);
}

int32_t cuda_stream_wait_for_all(void)
{
    bool is_to_wait_for[DEVICE_COUNT_MAX];
    pthread_mutex_lock(&lock);
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        is_to_wait_for[device] = has_had_streams[device];
    }
    pthread_mutex_unlock(&lock);
    int32_t status = MEMORY_OK;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (!is_to_wait_for[device]) continue;
        int32_t device_status = wait_for_device(device);
        if (device_status != MEMORY_OK) status = device_status;
    }
    return status;
}
