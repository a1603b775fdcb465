// Whether CUDA has failed for good.
//
// After some errors, such as that of a kernel that wrote to a wild address, the CUDA runtime answers
// every call of the process with the same error, on every GPU, until the process ends. From the moment
// that one is seen the library calls CUDA no more: CUDART(), through which all calls go, answers the
// error itself.
#ifndef CUDA_LOST_H
#define CUDA_LOST_H

#include <stdbool.h>

#include "bun_cuda_memory.h"

// Whether CUDA is lost. It costs a load.
bool cuda_is_lost(void);

// The error that CUDA was lost with, or 0.
int cuda_lost_error(void);

// That CUDA is lost, and by what: half a sentence. Empty while it is not.
const char *cuda_lost_reason(void);

// Whether CUDA is lost with this error.
bool cuda_is_fatal(int error);

// Says that a function returned a fatal error. What is said first stays. The name and the text are
// CUDA's.
void cuda_lose(int error, const char *function, const char *name, const char *text);

// Has a function called once when CUDA is lost, by the thread that finds it, which may hold locks.
// There is room for one function.
void cuda_on_lost(void (*function)(void));

// Adds to the message that something cannot be done because CUDA is lost. Returns MEMORY_DEVICE_LOST.
__attribute__((format(printf, 1, 2))) enum memory_status cuda_refuse_as_lost(const char *format,
                                                                             ...);

#endif
