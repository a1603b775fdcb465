// Streams: queues of work for a GPU.

#include "cuda/stream.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

enum { CUDA_STREAM_NON_BLOCKING = 1, CUDA_EVENT_DISABLE_TIMING = 2, BUCKET_COUNT = 4096 };

// A stream that was created, until it is destroyed and nobody waits for its work any more. The place
// for its error is here, so that no error is lost for lack of memory.
struct known_stream {
    struct known_stream *next;          // in its bucket
    struct known_stream *next_released; // while it is released
    struct cuda_stream stream;
    uint32_t owner; // while it is not released
    bool is_released;
    bool is_being_destroyed;
    bool is_destroyed;
    uint64_t point_count; // of points that are marked
    // The last error, the function that returned it, how many there were, and how many of them the
    // stream has told.
    int error;
    const char *function;
    uint64_t error_count, told_count;
};

// Guards all that follows.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool has_had_streams[DEVICE_COUNT_MAX];
static uint64_t last_id;
static struct known_stream *buckets[BUCKET_COUNT]; // by id
static struct known_stream *released_streams;
static void
    *join_events[DEVICE_COUNT_MAX]; // put streams of ended threads in order; made when needed

void *stream_handle(const struct cuda_stream *stream)
{
    return (void *)(uintptr_t)stream->handle;
}

static uint64_t id_of(const struct cuda_stream *stream)
{
    return whole_number(stream->id);
}

// The link to a stream; the link is null where the stream is not known. The caller holds the lock.
static struct known_stream **link_of(uint64_t stream_id)
{
    struct known_stream **link = &buckets[stream_id % BUCKET_COUNT];
    while (*link != NULL && id_of(&(*link)->stream) != stream_id) link = &(*link)->next;
    return link;
}

// Forgets a stream that was destroyed, once nobody waits for its work. The caller holds the lock.
static void forget_if_over(struct known_stream **link)
{
    struct known_stream *known = *link;
    if (!known->is_destroyed || known->point_count > 0) return;
    *link = known->next;
    free(known);
}

// ---- Errors of streams' work

static void note(struct known_stream *known, int error, const char *function)
{
    known->error = error;
    known->function = function;
    known->error_count++;
}

void stream_note_error(uint64_t stream_id, int error, const char *function)
{
    cudart_note_error(error, function);
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(stream_id);
    if (known != NULL) note(known, error, function);
    pthread_mutex_unlock(&lock);
}

// An error of a whole device may be that of any stream that has work under way.
static void note_error_of_device(int device, int error, const char *function)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BUCKET_COUNT; i++) {
        for (struct known_stream *known = buckets[i]; known != NULL; known = known->next) {
            if (known->stream.device_id == device && !known->is_released) {
                note(known, error, function);
            }
        }
    }
    pthread_mutex_unlock(&lock);
}

uint64_t stream_mark_point(uint64_t stream_id)
{
    uint64_t mark = 0;
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(stream_id);
    if (known != NULL) {
        known->point_count++;
        mark = known->error_count;
    }
    pthread_mutex_unlock(&lock);
    return mark;
}

void stream_forget_point(uint64_t stream_id)
{
    pthread_mutex_lock(&lock);
    struct known_stream **link = link_of(stream_id);
    if (*link != NULL && (*link)->point_count > 0) {
        (*link)->point_count--;
        forget_if_over(link);
    }
    pthread_mutex_unlock(&lock);
}

enum memory_status stream_error_since(uint64_t stream_id, double device_id, uint64_t mark)
{
    int error = 0;
    const char *function = NULL;
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(stream_id);
    if (known != NULL && known->error_count != mark) {
        error = known->error;
        function = known->function;
        known->told_count = known->error_count;
    }
    pthread_mutex_unlock(&lock);
    return cudart_check(error, function, "work on a stream of GPU %.0f", device_id);
}

// The error that was noted since the stream has told the last one, as a status with a message.
static enum memory_status take_error(const struct cuda_stream *stream)
{
    int error = 0;
    const char *function = NULL;
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(id_of(stream));
    if (known != NULL && known->error_count != known->told_count) {
        error = known->error;
        function = known->function;
        known->told_count = known->error_count;
    }
    pthread_mutex_unlock(&lock);
    return cudart_check(error, function, "work on a stream of GPU %.0f", stream->device_id);
}

// ---- Creating and destroying

static enum memory_status create_handle(void **handle, int device)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(CUDART(cudaStreamCreateWithFlags(handle, CUDA_STREAM_NON_BLOCKING)),
                          "cudaStreamCreateWithFlags", "create a stream on GPU %d", device);
    bool is_created = status == MEMORY_OK;
    status = device_scope_leave(&scope, status);
    if (status != MEMORY_OK && is_created) (void)CUDART(cudaStreamDestroy(*handle));
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
    *known = (struct known_stream){
        .next = buckets[last_id % BUCKET_COUNT], .stream = *stream, .owner = owner_of_thread()};
    buckets[last_id % BUCKET_COUNT] = known;
    has_had_streams[device] = true;
    pthread_mutex_unlock(&lock);
    return MEMORY_OK;
}

// Of a lost CUDA nothing is left to destroy. `*is_destroyed` may be true after a failure too: the stream
// is gone, and something else has failed.
static enum memory_status destroy_handle(const struct cuda_stream *stream, bool *is_destroyed)
{
    *is_destroyed = cuda_is_lost();
    if (*is_destroyed) return MEMORY_OK;
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, (int)stream->device_id);
    if (status == MEMORY_OK) {
        status = cudart_check(CUDART(cudaStreamDestroy(stream_handle(stream))), "cudaStreamDestroy",
                              "destroy a stream of GPU %.0f", stream->device_id);
        *is_destroyed = status == MEMORY_OK;
        status = device_scope_leave(&scope, status);
    }
    if (!cuda_is_lost()) return status;
    *is_destroyed = true;
    return MEMORY_OK;
}

static void set_being_destroyed(const struct cuda_stream *stream, bool is_being_destroyed)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(id_of(stream));
    if (known != NULL) known->is_being_destroyed = is_being_destroyed;
    pthread_mutex_unlock(&lock);
}

enum memory_status cuda_stream_destroy(const struct cuda_stream *stream)
{
    message_clear();
    set_being_destroyed(stream, true);
    bool is_destroyed;
    enum memory_status status = destroy_handle(stream, &is_destroyed);
    if (!is_destroyed) {
        set_being_destroyed(stream, false);
        cuda_stream_release(stream); // the next reset tries again
        return status;
    }
    pthread_mutex_lock(&lock);
    struct known_stream **link = link_of(id_of(stream));
    if (*link != NULL) {
        (*link)->is_destroyed = true;
        forget_if_over(link);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Released streams

static bool acquire_released(struct cuda_stream *stream, double device_id)
{
    pthread_mutex_lock(&lock);
    struct known_stream **link = &released_streams;
    while (*link != NULL && (*link)->stream.device_id != device_id) link = &(*link)->next_released;
    struct known_stream *found = *link;
    if (found != NULL) {
        *link = found->next_released;
        found->is_released = false;
        found->owner = owner_of_thread();
        found->told_count = found->error_count; // those of an earlier owner's work
        *stream = found->stream;
    }
    pthread_mutex_unlock(&lock);
    return found != NULL;
}

enum memory_status cuda_stream_acquire(struct cuda_stream *stream, double device_id)
{
    if (cuda_is_lost()) {
        message_clear();
        return cuda_refuse_as_lost("use a stream of GPU %.0f", device_id);
    }
    return acquire_released(stream, device_id) ? MEMORY_OK : cuda_stream_create(stream, device_id);
}

// The caller holds the lock.
static void release(struct known_stream *known)
{
    known->owner = OWNER_PROCESS;
    known->is_released = true;
    known->next_released = released_streams;
    released_streams = known;
}

void cuda_stream_release(const struct cuda_stream *stream)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(id_of(stream));
    if (known != NULL && !known->is_released && !known->is_destroyed) release(known);
    pthread_mutex_unlock(&lock);
}

// What CUDA refuses to take back stays for the next reset to try again. The caller holds the lock.
static enum memory_status destroy_join_event(int device)
{
    if (join_events[device] == NULL) return MEMORY_OK;
    enum memory_status status = MEMORY_OK;
    struct device_scope scope;
    if (!cuda_is_lost()) status = device_scope_enter(&scope, device);
    if (!cuda_is_lost() && status == MEMORY_OK) {
        status = cudart_check(CUDART(cudaEventDestroy(join_events[device])), "cudaEventDestroy",
                              "destroy an event of GPU %d", device);
        if (status == MEMORY_OK) join_events[device] = NULL;
        status = device_scope_leave(&scope, status);
    }
    if (!cuda_is_lost()) return status;
    join_events[device] = NULL;
    return MEMORY_OK;
}

enum memory_status stream_destroy_released(void)
{
    enum memory_status status = MEMORY_OK;
    pthread_mutex_lock(&lock);
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        enum memory_status destroyed = destroy_join_event(device);
        if (destroyed != MEMORY_OK) status = destroyed;
    }
    for (struct known_stream **link = &released_streams; *link != NULL;) {
        struct known_stream *known = *link;
        bool is_destroyed;
        enum memory_status destroyed = destroy_handle(&known->stream, &is_destroyed);
        if (destroyed != MEMORY_OK) status = destroyed;
        if (!is_destroyed) {
            link = &known->next_released; // the next reset tries again
            continue;
        }
        *link = known->next_released;
        known->is_destroyed = true;
        forget_if_over(link_of(id_of(&known->stream)));
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Streams of threads that have ended

static bool is_owned(const struct known_stream *known, uint32_t owner)
{
    return !known->is_released && !known->is_destroyed && known->owner == owner;
}

// Makes what the first stream is given from now on come after what the second was given.
static bool is_joined(const struct cuda_stream *first, const struct cuda_stream *second)
{
    int device = (int)second->device_id;
    struct device_scope scope;
    if (device_scope_enter(&scope, device) != MEMORY_OK) return false;
    void *event = join_events[device];
    int error = 0;
    if (event == NULL) {
        error = CUDART(cudaEventCreateWithFlags(&event, CUDA_EVENT_DISABLE_TIMING));
    }
    if (error == 0) {
        join_events[device] = event;
        error = CUDART(cudaEventRecord(event, stream_handle(second)));
        if (error == 0) error = CUDART(cudaStreamWaitEvent(stream_handle(first), event, 0));
    }
    if (error != 0) cudart_note_error(error, "cudaStreamWaitEvent");
    return device_scope_leave(&scope, MEMORY_OK) == MEMORY_OK && error == 0;
}

bool stream_join_owner(uint32_t owner, struct cuda_stream *joined)
{
    bool has_joined = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BUCKET_COUNT; i++) {
        for (const struct known_stream *known = buckets[i]; known != NULL; known = known->next) {
            if (!is_owned(known, owner)) continue;
            if (!has_joined) *joined = known->stream;
            // What cannot be put in order is waited for.
            else if (!is_joined(joined, &known->stream)) {
                (void)CUDART(cudaStreamSynchronize(stream_handle(&known->stream)));
            }
            has_joined = true;
        }
    }
    pthread_mutex_unlock(&lock);
    return has_joined;
}

void stream_release_owner(uint32_t owner)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BUCKET_COUNT; i++) {
        for (struct known_stream *known = buckets[i]; known != NULL; known = known->next) {
            if (is_owned(known, owner)) release(known);
        }
    }
    pthread_mutex_unlock(&lock);
}

// ---- Waiting

bool stream_is_idle(uint64_t stream_id)
{
    int error = CUDA_ERROR_NOT_READY;
    // Under the lock, because nothing may be asked about a stream that is being destroyed.
    pthread_mutex_lock(&lock);
    const struct known_stream *known = *link_of(stream_id);
    struct device_scope scope;
    if (known != NULL && !known->is_destroyed && !known->is_being_destroyed &&
        device_scope_enter(&scope, (int)known->stream.device_id) == MEMORY_OK) {
        error = CUDART(cudaStreamQuery(stream_handle(&known->stream)));
        if (device_scope_leave(&scope, MEMORY_OK) != MEMORY_OK) error = scope.error;
    }
    pthread_mutex_unlock(&lock);
    if (error != 0 && error != CUDA_ERROR_NOT_READY) {
        stream_note_error(stream_id, error, "cudaStreamQuery");
    }
    return error == 0;
}

static enum memory_status ask(const struct cuda_stream *stream, bool is_to_wait)
{
    message_clear();
    const char *function = is_to_wait ? "cudaStreamSynchronize" : "cudaStreamQuery";
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, (int)stream->device_id);
    if (status != MEMORY_OK) return status;
    int error = is_to_wait ? CUDART(cudaStreamSynchronize(stream_handle(stream)))
                           : CUDART(cudaStreamQuery(stream_handle(stream)));
    if (error != 0 && error != CUDA_ERROR_NOT_READY) {
        stream_note_error(id_of(stream), error, function);
        error = 0; // take_error() tells it
    }
    status = device_scope_leave(&scope, error == 0 ? MEMORY_OK : MEMORY_NOT_DONE);
    if (status != MEMORY_OK) return status;
    if (cuda_is_lost())
        return cuda_refuse_as_lost("work on a stream of GPU %.0f", stream->device_id);
    return take_error(stream);
}

enum memory_status cuda_stream_query(const struct cuda_stream *stream)
{
    return ask(stream, false);
}

enum memory_status cuda_stream_synchronize(const struct cuda_stream *stream)
{
    return ask(stream, true);
}

double cuda_stream_error_count(const struct cuda_stream *stream)
{
    pthread_mutex_lock(&lock);
    struct known_stream *known = *link_of(id_of(stream));
    double error_count = known != NULL ? (double)known->error_count : 0;
    pthread_mutex_unlock(&lock);
    return error_count;
}

enum memory_status cuda_stream_error_since(const struct cuda_stream *stream, double error_count)
{
    message_clear();
    if (cuda_is_lost())
        return cuda_refuse_as_lost("work on a stream of GPU %.0f", stream->device_id);
    return stream_error_since(id_of(stream), stream->device_id, whole_number(error_count));
}

static enum memory_status wait_for_device(int device)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    int error = CUDART(cudaDeviceSynchronize());
    if (error != 0) note_error_of_device(device, error, "cudaDeviceSynchronize");
    status = cudart_check(error, "cudaDeviceSynchronize", "wait for the work of GPU %d", device);
    return device_scope_leave(&scope, status);
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
    for (int device = 0; device < DEVICE_COUNT_MAX && !cuda_is_lost(); device++) {
        if (!is_to_wait_for[device]) continue;
        enum memory_status device_status = wait_for_device(device);
        if (device_status != MEMORY_OK) status = device_status;
    }
    // Nothing works on a GPU any more.
    return cuda_is_lost() ? MEMORY_OK : status;
}
