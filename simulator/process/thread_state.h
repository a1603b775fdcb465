// What the CUDA runtime keeps for each host thread.
#ifndef THREAD_STATE_H
#define THREAD_STATE_H

#include <stdbool.h>

#include "cudart_abi.h"

struct thread_state {
    int current_device;
    cudaError_t last_error;
    // The thread is a stream's worker and runs a host function, which may not call CUDA.
    bool is_in_host_function;
};

extern _Thread_local struct thread_state thread_state;

#endif
