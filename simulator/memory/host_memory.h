// Pinned host memory. Every function may be called from any thread.
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cudart_abi.h"

// `device` is the thread's current device. Refuses what would bring the sum above the machine's
// memory, because pages that are really pinned cannot be swapped out. An empty block is a null
// pointer.
cudaError_t host_memory_allocate(int device, size_t size, void **pointer);

// Accepts a null pointer and the start of a live block.
cudaError_t host_memory_free(void *pointer);

// Number and sum of the sizes of the live blocks.
void host_memory_usage(uint64_t *block_count, uint64_t *byte_size);

// Gives the device that was current when the live block was allocated that holds the whole range.
// False when there is none.
bool host_memory_find(const void *pointer, size_t size, int *device);

#endif
