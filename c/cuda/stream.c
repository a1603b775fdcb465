// Streams: queues of work for a GPU.

#include "cuda/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "message.h"

enum {
    DEVICE_COUNT_MAX = 128,
    CUDA_STREAM_NON_BLOCKING = 1,
};

// A stream that is not destroyed. It brings the place for its error, so that none is lost for want of
// memory, and none is kept for which nobody can ask.
struct known_stream {
    struct known_stream *next;
    struct memory_stream stream;
    bool is_idle;
    // The first that nobody has been told, or 0; and the function that gave it.
    int error;
    const char *function;
};

// Guards everything below but the ids.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool has_had_streams[DEVICE_COUNT_MAX];
static struct known_stream *known_streams;

void *cuda_stream_handle(const struct memory_stream *stream)
{
    return (void *)(uintptr_t)stream->handle;
}

// Null for one that is destroyed. The caller holds the lock.
static struct known_stream *find_known(uint64_t stream_id)
{
    struct known_stream *known = known_streams;
    while (known != NULL && (uint64_t)known->stream.id != stream_id) known = known->next;
    return known;
}

// ---- Errors that were found on behalf of somebody else

void cuda_stream_note(uint64_t stream_id, int error, const char *function)
{
    (void)cudart.cudaGetLastError(); // this thread's next user of CUDA must not find it
    pthread_mutex_lock(&lock);
    struct known_stream *known = find_known(stream_id);
    if (known != NULL && known->error == 0) {
        known->error = error;
        known->function = function;
    }
    pthread_mutex_unlock(&lock);
}

int32_t cuda_stream_check_noted(uint64_t stream_id, double device_id)
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

static int32_t create_handle(void **handle, int device)
{
    int saved_device;
    int32_t status = cudart_enter_device(device, &saved_device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaStreamCreateWithFlags(handle, CUDA_STREAM_NON_BLOCKING),
                          "cudaStreamCreateWithFlags", "create a stream on GPU %d", device);
    bool is_created = status == MEMORY_OK;
    status = cudart_leave_device(device, saved_device, status);
    if (status != MEMORY_OK && is_created) (void)cudart.cudaStreamDestroy(*handle);
    return status;
}

int32_t cuda_stream_create(struct memory_stream *stream, double device_id)
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
    int32_t status = create_handle(&handle, device);
    if (status != MEMORY_OK) {
        free(known);
        return status;
    }
    // CUDA may give a handle again while work of the stream that had it before is still under way.
    static _Atomic uint64_t last_id;
    *stream = (struct memory_stream){
        .handle = (double)(uintptr_t)handle,
        .device_id = device_id,
        .id = (double)(atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1)};
    *known = (struct known_stream){.stream = *stream};
    pthread_mutex_lock(&lock);
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

static int32_t destroy_handle(const struct memory_stream *stream)
{
    return cudart_check(cudart.cudaStreamDestroy(cuda_stream_handle(stream)), "cudaStreamDestroy",
                        "destroy a stream of GPU %.0f", stream->device_id);
}

int32_t cuda_stream_destroy(const struct memory_stream *stream)
{
    message_clear();
    int32_t status = destroy_handle(stream);
    if (status == MEMORY_OK) forget((uint64_t)stream->id);
    else cuda_stream_give(stream); // not lost: the next reset tries again
    return status;
}

// ---- Idle streams

static bool take_idle(struct memory_stream *stream, double device_id)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = known_streams;
    while (known != NULL && !(known->is_idle && known->stream.device_id == device_id)) {
        known = known->next;
    }
    if (known != NULL) {
        known->is_idle = false;
        *stream = known->stream;
    }
    pthread_mutex_unlock(&lock);
    return known != NULL;
}

int32_t cuda_stream_take(struct memory_stream *stream, double device_id)
{
    return take_idle(stream, device_id) ? MEMORY_OK : cuda_stream_create(stream, device_id);
}

int32_t cuda_stream_give(const struct memory_stream *stream)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = find_known((uint64_t)stream->id);
    if (known != NULL) {
        known->error = 0; // nobody asks any more
        known->is_idle = true;
    }
    pthread_mutex_unlock(&lock);
    return MEMORY_OK;
}

int32_t cuda_stream_destroy_idle(void)
{
    int32_t status = MEMORY_OK;
    pthread_mutex_lock(&lock);
    for (struct known_stream **link = &known_streams; *link != NULL;) {
        struct known_stream *known = *link;
        int32_t destroyed = known->is_idle ? destroy_handle(&known->stream) : MEMORY_OK;
        if (known->is_idle && destroyed == MEMORY_OK) {
            *link = known->next;
            free(known);
        } else {
            link = &known->next; // not lost: the next reset tries again
        }
        if (destroyed != MEMORY_OK) status = destroyed;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Waiting

int32_t cuda_stream_query(const struct memory_stream *stream)
{
    message_clear();
    int error = cudart.cudaStreamQuery(cuda_stream_handle(stream));
    int32_t status = cudart_check_done(error, "cudaStreamQuery", "work on a stream of GPU %.0f",
                                       stream->device_id);
    if (status != MEMORY_OK) return status;
    return cuda_stream_check_noted((uint64_t)stream->id, stream->device_id);
}

int32_t cuda_stream_synchronize(const struct memory_stream *stream)
{
    message_clear();
    int error = cudart.cudaStreamSynchronize(cuda_stream_handle(stream));
    int32_t status = cudart_check(error, "cudaStreamSynchronize", "work on a stream of GPU %.0f",
                                  stream->device_id);
    if (status != MEMORY_OK) return status;
    return cuda_stream_check_noted((uint64_t)stream->id, stream->device_id);
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
