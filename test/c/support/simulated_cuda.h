// The CUDA runtime simulator, linked in and bound as the library's CUDA runtime.
#ifndef SIMULATED_CUDA_H
#define SIMULATED_CUDA_H

#include <stdint.h>

// The devices are as CUDART_SIM_DEVICES has them. This is called before any thread is started.
void simulated_cuda_bind(const char *devices);

// How often a function of the runtime was called since the process started.
uint64_t simulated_cuda_call_count(const char *function);

// Expects that no device memory and no pinned memory is allocated, no stream and no event is left,
// and no non-pinned memory lives.
void simulated_cuda_expect_nothing_live(int device_count);

// Expects that every device's pool was full at times, and is free as a whole now.
void simulated_cuda_expect_pools_emptied(int device_count, double pool_byte_size);

#endif
