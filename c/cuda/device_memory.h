// How much memory a GPU has, whoever uses it.
#ifndef DEVICE_MEMORY_H
#define DEVICE_MEMORY_H

#include "bun_cuda_memory.h"

// Asks CUDA, which makes a context on the GPU. A failure adds to the message.
enum memory_status device_memory_read(int device, struct device_memory *memory);

#endif
