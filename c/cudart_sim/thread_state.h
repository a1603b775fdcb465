// What the CUDA runtime keeps for each host thread.
#ifndef THREAD_STATE_H
#define THREAD_STATE_H

#include "cudart_abi.h"

struct thread_state {
    int current_device;
    cudaError_t last_error;
};

extern _Thread_local struct thread_state thread_state;

#endif
