// Streams: queues of operations, performed one after the other.
//
// One lock guards all streams and events, and nobody holds it while bytes move, while a delay
// passes or while a host function runs. Except where a comment says otherwise, the caller of a
// function here holds it.
#ifndef STREAM_H
#define STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cudart_abi.h"

struct operation;
struct waiter;

enum stream_kind {
    // The default stream of a device: see stream_order.h.
    STREAM_LEGACY,
    STREAM_BLOCKING,
    STREAM_NON_BLOCKING,
};

struct stream {
    int device;
    enum stream_kind kind;
    // The handle and the worker hold one together, and so does each point.
    size_t reference_count;
    // Its handle is gone: nothing is queued any more, and the worker ends after what is.
    bool closed;
    bool has_worker;

    // Operations ever queued, and of these the ones done. They are numbered from 1: an operation's
    // sequence is queued_count after it was queued.
    uint64_t queued_count;
    uint64_t done_count;
    // Of the operations that the worker has yet to perform.
    struct operation *first;
    struct operation *last;
    // Up to here the device's legacy stream waits for it already.
    uint64_t awaited_by_legacy;

    // An operation failed when it ran, and no call has reported that yet; see late_error.h.
    cudaError_t late_error;
    uint64_t late_error_sequence;

    // Signalled for the worker, when it has something to do.
    pthread_cond_t changed;
    // Those who wait for points of the stream; see point.h.
    struct waiter *waiters;

    // The device's other streams.
    struct stream *previous;
    struct stream *next;
};

// Called without the lock.
void streams_lock(void);
void streams_unlock(void);

// Gives up the lock while it waits for the condition.
void streams_wait(pthread_cond_t *condition);

// Makes a stream of a handle.
cudaError_t stream_create(int device, enum stream_kind kind, cudaStream_t *handle);

// Ends the handle; the work that is queued goes on. The default streams cannot be destroyed.
cudaError_t stream_destroy(cudaStream_t handle);

// The stream of a handle, or a default stream of the thread's current device.
cudaError_t stream_find(cudaStream_t handle, struct stream **stream);

void stream_keep(struct stream *stream);

// The last reference frees it.
void stream_release(struct stream *stream);

bool stream_is_idle(const struct stream *stream);

// Whether the handle is one of the legacy default stream's.
bool stream_is_legacy(cudaStream_t handle);

// The first of a device's streams, those included that are destroyed but not forgotten.
struct stream *streams_of_device(int device);

// The late error that the device's streams left behind that are gone, until a call reports it. Of
// several the first is kept.
cudaError_t *streams_left_error(int device);

// Number of the streams that were created and not destroyed.
size_t stream_count(void);

#endif
