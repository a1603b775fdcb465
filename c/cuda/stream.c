// Streams: queues of work for a GPU.

#include "cuda/stream.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "cuda/borrowed_stream.h"
#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "cuda/known_stream.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

enum { CUDA_STREAM_NON_BLOCKING = 1, CUDA_STREAM_CAPTURE_STATUS_NONE = 0 };

// Handles up to this stand for default streams, and others for streams that somebody has created.
enum { LAST_DEFAULT_HANDLE = 2 };

// Guarded by the lock of known_stream.h.
static struct known_stream *released_streams[DEVICE_COUNT_MAX];

void *stream_handle(const struct cuda_stream *stream)
{
    return (void *)(uintptr_t)stream->handle;
}

static uint64_t id_of(const struct cuda_stream *stream)
{
    return whole_number(stream->id);
}

enum memory_status stream_refuse_as_lost(double device_id)
{
    return cuda_refuse_as_lost("work on a stream of GPU %.0f", device_id);
}

// ---- Capture

enum memory_status stream_check_in_scope(const struct cuda_stream *stream, int *error)
{
    int capture_status = CUDA_STREAM_CAPTURE_STATUS_NONE;
    *error = CUDART(cudaStreamIsCapturing(stream_handle(stream), &capture_status));
    // What is queued on the legacy default stream would come between what is captured.
    if (*error == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) {
        cudart_clear_last_error();
        *error = 0;
        message_add("failed to work on the default stream of GPU %.0f: a stream that waits for it "
                    "is being captured into a CUDA graph; do this before the capture begins or "
                    "after it has ended",
                    stream->device_id);
        return MEMORY_UNSUPPORTED;
    }
    enum memory_status status = cudart_check(*error, "cudaStreamIsCapturing",
                                             "work on a stream of GPU %.0f", stream->device_id);
    if (status != MEMORY_OK || capture_status == CUDA_STREAM_CAPTURE_STATUS_NONE) return status;
    message_add(
        "failed to work on a stream of GPU %.0f: it is being captured into a CUDA graph; do "
        "this before the capture begins or after it has ended",
        stream->device_id);
    return MEMORY_UNSUPPORTED;
}

enum memory_status stream_check(const struct cuda_stream *stream)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, (int)stream->device_id);
    int error = 0;
    if (status == MEMORY_OK) {
        status = device_scope_leave(&scope, stream_check_in_scope(stream, &error));
    }
    if (error != 0) stream_note_error(id_of(stream), error, "cudaStreamIsCapturing");
    if (scope.error != 0) stream_note_error(id_of(stream), scope.error, scope.function);
    return status;
}

// ---- Released streams, under the lock

static void add_released(struct known_stream *known)
{
    struct known_stream **list = &released_streams[(int)known->stream.device_id];
    known->owner = OWNER_PROCESS;
    known->is_released = true;
    known->next_like = *list;
    *list = known;
}

static bool is_in_use(const struct known_stream *known)
{
    return known != NULL && !known->is_released && !known->is_destroyed && !known->is_borrowed;
}

// ---- Creating

static enum memory_status create_handle(void **handle, int device)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    status = cudart_check(CUDART(cudaStreamCreateWithFlags(handle, CUDA_STREAM_NON_BLOCKING)),
                          "cudaStreamCreateWithFlags", "create a stream on GPU %d", device);
    if (status != MEMORY_OK) *handle = NULL;
    return device_scope_leave(&scope, status);
}

// A stream that was created while something else failed is not lost: it is a released one.
static enum memory_status create(struct cuda_stream *stream, struct known_stream *known, int device)
{
    void *handle = NULL;
    enum memory_status status = create_handle(&handle, device);
    if (handle == NULL) {
        free(known);
        return status;
    }
    known_streams_lock();
    // The id tells it from others: CUDA may give a handle again while work of the stream that had it
    // before is still under way.
    known_stream_add(known, handle, device);
    *stream = known->stream;
    if (status != MEMORY_OK) add_released(known);
    known_streams_unlock();
    return status;
}

enum memory_status cuda_stream_create(struct cuda_stream *stream, double device_id)
{
    message_clear();
    if (!cudart_is_bound() || device_id >= DEVICE_COUNT_MAX) {
        return message_set(
            MEMORY_UNAVAILABLE, "failed to create a stream on GPU %.0f: %s", device_id,
            cudart_is_bound() ? "no GPU beyond the 128th can be used" : "there is no CUDA runtime");
    }
    struct known_stream *known = malloc(sizeof *known);
    if (known == NULL) {
        return message_set(MEMORY_INTERNAL,
                           "failed to create a stream on GPU %.0f: the system refuses memory",
                           device_id);
    }
    return create(stream, known, (int)device_id);
}

enum memory_status cuda_stream_borrow(struct cuda_stream *stream, double handle, double device_id)
{
    enum memory_status status = borrowed_stream_borrow(stream, handle, device_id);
    bool is_default = handle <= LAST_DEFAULT_HANDLE; // which every GPU has
    if (status != MEMORY_OK || is_default) return status;
    status = stream_check(stream);
    if (status == MEMORY_OK) return MEMORY_OK;
    if (status == MEMORY_UNSUPPORTED) { // it is being captured, and nothing is queued on it now
        message_clear();
        return MEMORY_OK;
    }
    known_streams_lock();
    borrowed_stream_return(known_stream_find(id_of(stream)));
    known_streams_unlock();
    return status;
}

// ---- Destroying

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

// Destroys a stream that is marked as destroyed and that the caller uses.
static enum memory_status destroy(struct known_stream *known)
{
    bool is_destroyed;
    enum memory_status status = destroy_handle(&known->stream, &is_destroyed);
    known_streams_lock();
    if (!is_destroyed) {
        known->is_destroyed = false;
        add_released(known); // the next reset tries again
    }
    known_stream_release(known);
    known_streams_unlock();
    return status;
}

enum memory_status cuda_stream_destroy(const struct cuda_stream *stream)
{
    message_clear();
    known_streams_lock();
    struct known_stream *known = known_stream_find(id_of(stream));
    bool is_to_destroy = is_in_use(known);
    if (known != NULL && known->is_borrowed) borrowed_stream_return(known);
    if (is_to_destroy) {
        known_stream_acquire(known);
        known->is_destroyed = true;
    }
    known_streams_unlock();
    return is_to_destroy ? destroy(known) : MEMORY_OK;
}

// Takes all released streams, as a list of streams that are marked as destroyed and used.
static struct known_stream *take_released(void)
{
    struct known_stream *taken = NULL;
    known_streams_lock();
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        struct known_stream *next;
        for (struct known_stream *known = released_streams[device]; known != NULL; known = next) {
            next = known->next_like;
            known_stream_acquire(known);
            known->is_released = false;
            known->is_destroyed = true;
            known->next_like = taken;
            taken = known;
        }
        released_streams[device] = NULL;
    }
    known_streams_unlock();
    return taken;
}

enum memory_status stream_destroy_released(void)
{
    enum memory_status status = MEMORY_OK;
    struct known_stream *next;
    for (struct known_stream *known = take_released(); known != NULL; known = next) {
        next = known->next_like;
        enum memory_status destroyed = destroy(known);
        if (destroyed != MEMORY_OK) status = destroyed;
    }
    return status;
}

// ---- Acquiring and releasing

static bool acquire_released(struct cuda_stream *stream, double device_id)
{
    if (device_id >= DEVICE_COUNT_MAX) return false;
    known_streams_lock();
    struct known_stream *known = released_streams[(int)device_id];
    if (known != NULL) {
        released_streams[(int)device_id] = known->next_like;
        known->is_released = false;
        known->owner = owner_of_thread();
        known->told_count = known->error_count; // those of an earlier owner's work
        *stream = known->stream;
    }
    known_streams_unlock();
    return known != NULL;
}

enum memory_status cuda_stream_acquire(struct cuda_stream *stream, double device_id)
{
    message_clear();
    if (cuda_is_lost()) return cuda_refuse_as_lost("use a stream of GPU %.0f", device_id);
    return acquire_released(stream, device_id) ? MEMORY_OK : cuda_stream_create(stream, device_id);
}

void cuda_stream_release(const struct cuda_stream *stream)
{
    known_streams_lock();
    struct known_stream *known = known_stream_find(id_of(stream));
    if (is_in_use(known)) add_released(known);
    known_streams_unlock();
}

void stream_release_owner(uint32_t owner)
{
    known_streams_lock();
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (is_in_use(known) && known->owner == owner) add_released(known);
    }
    known_streams_unlock();
    borrowed_stream_return_all(owner);
}

// ---- Asking and waiting

// Asks about a stream, or waits for it. An error is noted.
static enum memory_status ask_in_scope(const struct cuda_stream *stream, struct known_stream *known,
                                       bool is_to_wait)
{
    int error;
    enum memory_status status = stream_check_in_scope(stream, &error);
    if (status != MEMORY_OK) return status;
    known_stream_begin_asking(known);
    error = is_to_wait ? CUDART(cudaStreamSynchronize(stream_handle(stream)))
                       : CUDART(cudaStreamQuery(stream_handle(stream)));
    known_stream_end_asking(known, error, is_to_wait ? "cudaStreamSynchronize" : "cudaStreamQuery");
    return error == CUDA_ERROR_NOT_READY ? MEMORY_NOT_DONE : MEMORY_OK;
}

static enum memory_status ask(const struct cuda_stream *stream, struct known_stream *known,
                              bool is_to_wait)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, (int)stream->device_id);
    if (status != MEMORY_OK) return status;
    return device_scope_leave(&scope, ask_in_scope(stream, known, is_to_wait));
}

// Waits until nobody else can have been told an error that is not noted.
static void wait_for_others(const struct known_stream *known)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000};
    while (known_stream_is_asked(known)) (void)nanosleep(&moment, NULL);
}

static enum memory_status answer(const struct cuda_stream *stream, struct known_stream *known,
                                 bool is_to_wait)
{
    enum memory_status status = ask(stream, known, is_to_wait);
    if (cuda_is_lost()) return stream_refuse_as_lost(stream->device_id);
    if (status != MEMORY_OK) return status;
    if (is_to_wait) wait_for_others(known);
    bool is_asked = known_stream_is_asked(known);
    status = known_stream_take_error(known);
    return status == MEMORY_OK && is_asked ? MEMORY_NOT_DONE : status;
}

static enum memory_status query(const struct cuda_stream *stream, bool is_to_wait)
{
    message_clear();
    if (cuda_is_lost()) return stream_refuse_as_lost(stream->device_id);
    uint64_t mark;
    struct known_stream *known = known_stream_mark_point(id_of(stream), &mark);
    enum memory_status status = answer(stream, known, is_to_wait);
    known_stream_forget_point(known);
    return status;
}

enum memory_status cuda_stream_query(const struct cuda_stream *stream)
{
    return query(stream, false);
}

enum memory_status cuda_stream_synchronize(const struct cuda_stream *stream)
{
    enum memory_status status = query(stream, true);
    return status == MEMORY_NOT_DONE ? MEMORY_OK : status; // somebody has asked since
}

double cuda_stream_error_count(const struct cuda_stream *stream)
{
    known_streams_lock();
    const struct known_stream *known = known_stream_find(id_of(stream));
    double error_count = known != NULL ? from_whole_number(known->error_count) : 0;
    known_streams_unlock();
    return error_count;
}

enum memory_status cuda_stream_error_since(const struct cuda_stream *stream, double error_count)
{
    message_clear();
    if (cuda_is_lost()) return stream_refuse_as_lost(stream->device_id);
    uint64_t mark;
    struct known_stream *known = known_stream_mark_point(id_of(stream), &mark);
    enum memory_status status = known_stream_error_since(known, whole_number(error_count));
    known_stream_forget_point(known);
    return status;
}

// ---- Asking about streams of other threads, under the lock

// The result of cudaStreamQuery, of which an error is noted. What is captured is not asked, and seems
// not ready. The caller is in the scope of the stream's device.
static int query_other(struct known_stream *known, bool *is_captured)
{
    const struct cuda_stream *stream = &known->stream;
    int error;
    const char *function = "cudaStreamIsCapturing";
    enum memory_status status = stream_check_in_scope(stream, &error);
    *is_captured = status == MEMORY_UNSUPPORTED;
    if (*is_captured) return CUDA_ERROR_NOT_READY;
    if (status == MEMORY_OK) {
        error = CUDART(cudaStreamQuery(stream_handle(stream)));
        function = "cudaStreamQuery";
    }
    if (error == 0 || error == CUDA_ERROR_NOT_READY) return error;
    cudart_note_error(error, function);
    known_stream_note(known, error, function);
    return error;
}

static bool is_idle(struct known_stream *known)
{
    struct device_scope scope;
    if (known == NULL) return false;
    if (device_scope_enter(&scope, (int)known->stream.device_id) != MEMORY_OK) return false;
    known_stream_begin_asking(known);
    known_streams_lock();
    bool is_captured;
    bool may_be_asked = !known->is_destroyed && !known->is_borrowed;
    bool is_known_idle = may_be_asked && query_other(known, &is_captured) == 0;
    known_streams_unlock();
    known_stream_end_asking(known, 0, NULL);
    return device_scope_leave(&scope, MEMORY_OK) == MEMORY_OK && is_known_idle;
}

bool stream_is_idle(uint64_t stream_id)
{
    uint64_t mark;
    struct known_stream *known = known_stream_mark_point(stream_id, &mark);
    bool result = is_idle(known);
    known_stream_forget_point(known);
    return result;
}

void stream_note_error(uint64_t stream_id, int error, const char *function)
{
    uint64_t mark;
    struct known_stream *known = known_stream_mark_point(stream_id, &mark);
    known_stream_begin_asking(known);
    known_stream_end_asking(known, error, function);
    known_stream_forget_point(known);
}

// ---- Waiting for devices

// Marks the streams that have work under way, whose error may be what the wait for the device answers.
// Those that were destroyed may have, while somebody waits for a point in their work, and so may those that
// are borrowed, which are not asked. MEMORY_UNSUPPORTED where one is being captured, which a wait for the
// device would make invalid.
static enum memory_status mark_under_way(int device)
{
    enum memory_status status = MEMORY_OK;
    known_streams_lock();
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (known->stream.device_id != device) continue;
        bool is_captured = false;
        known->is_under_way = known->is_destroyed || known->is_borrowed ||
                              query_other(known, &is_captured) == CUDA_ERROR_NOT_READY;
        if (is_captured) status = MEMORY_UNSUPPORTED;
    }
    known_streams_unlock();
    return status;
}

static void note_under_way(int device, int error)
{
    cudart_note_error(error, "cudaDeviceSynchronize");
    known_streams_lock();
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (known->stream.device_id != device || !known->is_under_way) continue;
        known_stream_note(known, error, "cudaDeviceSynchronize");
    }
    known_streams_unlock();
}

static enum memory_status synchronize_in_scope(int device)
{
    known_streams_begin_asking(device);
    enum memory_status status = mark_under_way(device);
    int error = status == MEMORY_OK ? CUDART(cudaDeviceSynchronize()) : 0;
    if (error != 0) note_under_way(device, error);
    known_streams_end_asking(device);
    if (status != MEMORY_OK) return status;
    return cudart_check(error, "cudaDeviceSynchronize", "wait for the work of GPU %d", device);
}

enum memory_status stream_synchronize_device(int device)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    return device_scope_leave(&scope, synchronize_in_scope(device));
}

// Calls a function for each GPU that has had streams. Of failures the last is returned, or that a stream
// is being captured.
static enum memory_status for_each_device(enum memory_status (*function)(int device))
{
    bool is_meant[DEVICE_COUNT_MAX];
    known_streams_lock();
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        is_meant[device] = known_streams_have_been_on(device);
    }
    known_streams_unlock();
    enum memory_status status = MEMORY_OK;
    for (int device = 0; device < DEVICE_COUNT_MAX && !cuda_is_lost(); device++) {
        if (!is_meant[device]) continue;
        enum memory_status device_status = function(device);
        if (device_status != MEMORY_OK && status != MEMORY_UNSUPPORTED) status = device_status;
    }
    // Of a lost CUDA nothing works any more.
    return cuda_is_lost() ? MEMORY_OK : status;
}

enum memory_status stream_synchronize_all(void)
{
    return for_each_device(stream_synchronize_device);
}

static enum memory_status check_device(int device)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    known_streams_begin_asking(device);
    status = mark_under_way(device);
    known_streams_end_asking(device);
    return device_scope_leave(&scope, status);
}

enum memory_status cuda_stream_check_all(void)
{
    message_clear();
    return for_each_device(check_device);
}
