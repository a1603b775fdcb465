// What is queued on streams and performed by them.
#ifndef OPERATION_H
#define OPERATION_H

#include <stdint.h>

#include "cudart_abi.h"
#include "memory/transfer.h"
#include "streams/event_record.h"
#include "streams/sync_point.h"

enum operation_kind {
    OPERATION_COPY,
    OPERATION_FILL,
    OPERATION_EVENT_RECORD,
    // Does nothing but wait for its turn, which comes after an event.
    OPERATION_EVENT_WAIT,
    OPERATION_HOST_FUNCTION,
};

struct operation {
    struct operation *next;
    // The operation's number on its stream: see struct stream.
    uint64_t sequence;
    enum operation_kind kind;
    // How long a copy or fill takes.
    int64_t delay_ns;
    // The error with which a copy or fill fails after its delay without moving bytes, or cudaSuccess.
    cudaError_t fault;
    // What has to be done before the operation, besides the earlier operations of its stream.
    struct sync_point_list after;
    union {
        struct copy copy;
        struct fill fill;
        struct event_record *record;
        struct {
            cudaHostFn_t function;
            void *argument;
        } host_function;
    };
};

// Performs the operation, and takes as long as it does. Called without the lock of stream.h.
cudaError_t operation_run(struct operation *operation);

// Releases what the operation holds, performed or not. The caller holds the lock of stream.h.
void operation_clear(struct operation *operation);

#endif
