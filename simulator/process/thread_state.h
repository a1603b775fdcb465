// What the CUDA runtime keeps for each host thread.
#ifndef THREAD_STATE_H
#define THREAD_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cudart_abi.h"

// How many contexts a thread can have pushed.
#define PUSHED_COUNT_MAX 256

struct current_device {
    int device;
    bool has_context;
};

struct thread_state {
    int current_device;
    // The context of the current device is the thread's current context. See process/context.h.
    bool has_context;
    // What was current before each context that is pushed, the latest last.
    int pushed_count;
    struct current_device below[PUSHED_COUNT_MAX];
    cudaError_t last_error;
    // How captures of streams restrict the thread, and the thread's number among those that have to do
    // with captures, from 1. See streams/capture.h.
    enum cudaStreamCaptureMode capture_mode;
    uint64_t number;
    // The thread is a stream's worker and runs a host function, which may not call CUDA.
    bool is_in_host_function;
};

extern _Thread_local struct thread_state thread_state;

#endif
