// Streams: queues of operations that are performed one after the other.
//
// One lock guards all streams and events, and nobody holds it while bytes move, while a delay
// passes or while a host function runs. The caller of a function here holds it, unless the
// function's comment says otherwise.
#ifndef STREAM_H
#define STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cudart_abi.h"

struct capture;
struct operation;
struct waiter;

// CUDA's three kinds, which differ in how they are ordered with other streams: see stream_order.h.
enum stream_kind {
    STREAM_LEGACY, // the default stream of a device
    STREAM_BLOCKING,
    STREAM_NON_BLOCKING,
};

struct stream {
    int device;
    enum stream_kind kind;
    // The handle and the worker hold one reference together, and each synchronization point holds
    // one.
    size_t reference_count;
    // The stream's handle is gone: nothing more is queued, and the worker ends when the queue is
    // empty.
    bool is_closed;
    bool has_worker;

    // The number of operations that were ever queued, and of those that are done. Operations are
    // numbered from 1: the sequence of an operation is what queued_count is after it was queued.
    uint64_t queued_count;
    uint64_t done_count;
    // The queue: the operations that the worker has yet to perform.
    struct operation *first;
    struct operation *last;
    // The device's legacy stream waits already for the operations up to this sequence.
    uint64_t awaited_by_legacy;

    // The error of the operation with that sequence, which no call has reported yet, or cudaSuccess:
    // see async_error.h.
    cudaError_t async_error;
    uint64_t async_error_sequence;

    // The capture that takes what is queued, or NULL: see capture.h. So many operations were captured,
    // and another stream of the capture waits for the first so many of them.
    struct capture *capture;
    uint64_t captured_count;
    uint64_t joined_count;

    // Signalled for the worker, when it has something to do.
    pthread_cond_t changed;
    // The threads that wait for points of the stream: see sync_point.c.
    struct waiter *waiters;

    // The neighbours in the list of the device's streams.
    struct stream *previous;
    struct stream *next;
};

// Called without the lock.
void streams_lock(void);
void streams_unlock(void);

// Gives up the lock while it waits for the condition.
void streams_wait(pthread_cond_t *condition);

// Makes a stream with one reference. NULL when there is no memory.
struct stream *stream_new(int device, enum stream_kind kind);

// Ends the stream for those who queue work; what is queued goes on. Gives up the reference that
// stream_new made, as soon as the stream's worker has ended.
void stream_close(struct stream *stream);

void stream_keep(struct stream *stream);

// Frees the stream with its last reference.
void stream_release(struct stream *stream);

bool stream_is_idle(const struct stream *stream);

// The first of the list of a device's streams, which has those too that are closed and not freed.
struct stream *streams_of_device(int device);

// The asynchronous error that a freed stream of the device had and that no call has reported, or
// cudaSuccess. Of several streams the first one's error is kept.
cudaError_t *device_inherited_error(int device);

#endif
