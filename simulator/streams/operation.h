// What streams perform.
#ifndef OPERATION_H
#define OPERATION_H

#include <stdint.h>

#include "cudart_abi.h"
#include "memory/transfer.h"
#include "streams/point.h"

struct event_record;

enum operation_kind {
    OPERATION_COPY,
    OPERATION_FILL,
    // Notes the time for an event.
    OPERATION_STAMP,
    // Calls a host function.
    OPERATION_CALL,
    // Does nothing but wait for its turn.
    OPERATION_WAIT,
};

struct operation {
    struct operation *next;
    uint64_t sequence;
    enum operation_kind kind;
    // A copy or fill takes so long, and then fails with this error if it is one, and does nothing.
    int64_t delay_ns;
    cudaError_t fault;
    // What has to be done before, beside the stream's earlier operations.
    struct point_list after;
    union {
        struct copy copy;
        struct fill fill;
        struct event_record *record;
        struct {
            cudaHostFn_t function;
            void *argument;
        } call;
    };
};

// Takes as long as the operation does. Called without the lock.
cudaError_t operation_run(struct operation *operation);

// Releases what the operation holds, performed or not. The caller holds the lock.
void operation_clear(struct operation *operation);

#endif
