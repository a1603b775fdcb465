// Waiting for all work of a GPU without making the caller wait.
//
// CUDA tells nobody whether work is done whose stream cannot be named any more: it only waits for the whole
// GPU. So a thread of the library's own does, which ends with the wait.
#ifndef CUDA_DEVICE_WAIT_H
#define CUDA_DEVICE_WAIT_H

#include <stdbool.h>
#include <stdint.h>

// Numbers a wait for all that the GPU was given before. Nothing is waited for yet.
uint64_t device_wait_new(int device);

// Whether that work is known to be over. Otherwise it is being waited for afterwards, unless the system
// refuses a thread or CUDA the wait, which the next question tries again.
bool device_wait_is_over(int device, uint64_t wait);

// Waits for that work, and says whether it is over.
bool device_wait_finish(int device, uint64_t wait);

#endif
