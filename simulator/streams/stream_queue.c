#include "streams/stream_queue.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "process/library_pin.h"
#include "streams/late_error.h"
#include "streams/stream_order.h"

// CUDA too makes the caller wait when a queue is full.
#define MAX_PENDING_COUNT 65536

cudaError_t stream_find_for_work(cudaStream_t handle, struct stream **stream)
{
    for (;;) {
        cudaError_t error = stream_find(handle, stream);
        if (error != cudaSuccess) return error;
        if ((*stream)->queued_count - (*stream)->done_count < MAX_PENDING_COUNT) {
            return late_error_of_device((*stream)->device);
        }
        stream_keep(*stream);
        struct point next = {*stream, (*stream)->done_count + 1};
        point_wait(&next);
        point_release(&next);
    }
}

// Gives the operation its place behind all others.
static bool take_place(struct stream *stream, struct operation *operation)
{
    uint64_t devices = operation->kind == OPERATION_COPY ? operation->copy.devices : 0;
    if (!stream_order(stream, devices, &operation->after)) return false;
    operation->sequence = ++stream->queued_count;
    return true;
}

static void run_in_turn(struct stream *stream, struct operation *operation)
{
    point_list_wait(&operation->after);
    point_wait(&(struct point){stream, operation->sequence - 1});
    bool has_effect = late_error_of_device(stream->device) == cudaSuccess;
    streams_unlock();
    cudaError_t error = has_effect ? operation_run(operation) : cudaSuccess;
    streams_lock();
    if (error != cudaSuccess) late_error_note(stream, operation->sequence, error);
    stream->done_count++;
    point_wake(stream);
}

// A worker's life: performs what is queued, until the stream is closed and its queue is empty.
static void perform_all(struct stream *stream)
{
    for (;;) {
        while (stream->first == NULL && !stream->closed) streams_wait(&stream->changed);
        struct operation *operation = stream->first;
        if (operation == NULL) return;
        run_in_turn(stream, operation);
        stream->first = operation->next;
        operation_clear(operation);
        free(operation);
    }
}

static void *work(void *argument)
{
    struct stream *stream = argument;
    // Delays are of some microseconds too, less than what sleeping otherwise takes longer.
    prctl(PR_SET_TIMERSLACK, 1);
    streams_lock();
    perform_all(stream);
    stream_release(stream);
    streams_unlock();
    return NULL;
}

static bool start_detached(struct stream *stream)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_t thread;
    bool started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                   pthread_create(&thread, &attributes, work, stream) == 0;
    // It is still there: it needs the lock to end.
    if (started) pthread_setname_np(thread, "cudart_sim");
    pthread_attr_destroy(&attributes);
    return started;
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

static cudaError_t try_to_queue(struct stream *stream, struct operation *operation)
{
    if (!ensure_worker(stream)) return cudaErrorOperatingSystem;
    struct operation *queued = malloc(sizeof *queued);
    if (queued == NULL) return cudaErrorMemoryAllocation;
    if (!take_place(stream, operation)) {
        free(queued);
        return cudaErrorMemoryAllocation;
    }
    *queued = *operation;
    append(stream, queued);
    return cudaSuccess;
}

cudaError_t stream_queue(struct stream *stream, struct operation *operation)
{
    cudaError_t error = try_to_queue(stream, operation);
    if (error != cudaSuccess) operation_clear(operation);
    return error;
}

cudaError_t stream_perform(struct stream *stream, struct operation *operation)
{
    cudaError_t error = cudaErrorMemoryAllocation;
    if (take_place(stream, operation)) {
        stream_keep(stream);
        run_in_turn(stream, operation);
        error = late_error_take(stream, operation->sequence);
        stream_release(stream);
    }
    operation_clear(operation);
    return error;
}
