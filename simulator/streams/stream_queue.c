#include "streams/stream_queue.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "process/library_pin.h"
#include "streams/async_error.h"
#include "streams/capture.h"
#include "streams/stream_handle.h"
#include "streams/stream_order.h"

// A full queue makes the caller wait, as CUDA does.
#define PENDING_COUNT_MAX 65536

cudaError_t stream_find_for_work(cudaStream_t handle, struct stream **stream)
{
    for (;;) {
        cudaError_t error = stream_find(handle, stream);
        if (error != cudaSuccess) return error;
        if ((*stream)->queued_count - (*stream)->done_count < PENDING_COUNT_MAX) {
            error = sticky_error();
            return error == cudaSuccess ? capture_check_legacy(*stream, true) : error;
        }
        stream_keep(*stream);
        struct sync_point next = {*stream, (*stream)->done_count + 1};
        sync_point_wait(&next);
        sync_point_release(&next);
    }
}

// Gives the operation its place behind all others. False when there is no memory.
static bool assign_sequence(struct stream *stream, struct operation *operation)
{
    assert(!stream->is_closed);
    const struct copy *copy = operation->kind == OPERATION_COPY ? &operation->copy : NULL;
    if (!stream_order(stream, copy, &operation->after)) return false;
    operation->sequence = ++stream->queued_count;
    return true;
}

// Waits until it is the operation's turn, and performs it, with no effect if a sticky error has ended
// all work of the process.
static void run_in_turn(struct stream *stream, struct operation *operation)
{
    sync_point_list_wait(&operation->after);
    sync_point_wait(&(struct sync_point){stream, operation->sequence - 1});
    assert(operation->sequence == stream->done_count + 1);
    bool has_effect = sticky_error() == cudaSuccess;
    streams_unlock();
    cudaError_t error = has_effect ? operation_run(operation) : cudaSuccess;
    streams_lock();
    if (error != cudaSuccess) async_error_note(stream, operation->sequence, error);
    stream->done_count++;
    sync_points_signal(stream);
}

// Performs what is queued, until the stream is closed and its queue is empty.
static void perform_queue(struct stream *stream)
{
    for (;;) {
        while (stream->first == NULL && !stream->is_closed) streams_wait(&stream->changed);
        struct operation *operation = stream->first;
        if (operation == NULL) return;
        run_in_turn(stream, operation);
        stream->first = operation->next;
        operation_clear(operation);
        free(operation);
    }
}

static void *run_worker(void *argument)
{
    struct stream *stream = argument;
    // A delay may be a few microseconds, and with the default slack a sleep may take 50 longer.
    prctl(PR_SET_TIMERSLACK, 1);
    streams_lock();
    perform_queue(stream);
    stream_release(stream);
    streams_unlock();
    return NULL;
}

static bool start_detached(struct stream *stream)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_t thread;
    bool is_started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                      pthread_create(&thread, &attributes, run_worker, stream) == 0;
    // The thread still exists: it needs the lock, which the caller holds, to end.
    if (is_started) pthread_setname_np(thread, "cudart_sim");
    pthread_attr_destroy(&attributes);
    return is_started;
}

// Starts the stream's worker if it has none. False when there can be no more threads.
static bool ensure_worker(struct stream *stream)
{
    if (stream->has_worker) return true;
    library_pin();
    // The program's signal handlers are for its own threads.
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    stream->has_worker = start_detached(stream);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    return stream->has_worker;
}

static void append(struct stream *stream, struct operation *operation)
{
    operation->next = NULL;
    if (stream->first == NULL) stream->first = operation;
    else stream->last->next = operation;
    stream->last = operation;
    pthread_cond_signal(&stream->changed);
}

static cudaError_t try_to_enqueue(struct stream *stream, struct operation *operation)
{
    if (!ensure_worker(stream)) return cudaErrorOperatingSystem;
    struct operation *queued = malloc(sizeof *queued);
    if (queued == NULL) return cudaErrorMemoryAllocation;
    if (!assign_sequence(stream, operation)) {
        free(queued);
        return cudaErrorMemoryAllocation;
    }
    *queued = *operation;
    append(stream, queued);
    return cudaSuccess;
}

// What is queued on a stream that is being captured is not performed.
static cudaError_t capture_instead(struct stream *stream, struct operation *operation)
{
    operation_clear(operation);
    return capture_add(stream);
}

cudaError_t stream_enqueue(struct stream *stream, struct operation *operation)
{
    if (stream->capture != NULL) return capture_instead(stream, operation);
    cudaError_t error = try_to_enqueue(stream, operation);
    if (error != cudaSuccess) operation_clear(operation);
    return error;
}

cudaError_t stream_perform(struct stream *stream, struct operation *operation)
{
    if (stream->capture != NULL) return capture_instead(stream, operation);
    cudaError_t error = cudaErrorMemoryAllocation;
    if (assign_sequence(stream, operation)) {
        stream_keep(stream);
        run_in_turn(stream, operation);
        error = async_error_report(stream, operation->sequence);
        stream_release(stream);
    }
    operation_clear(operation);
    return error;
}
