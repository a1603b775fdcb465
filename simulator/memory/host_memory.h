// Pinned host memory. Every function may be called from any thread.
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cudart_abi.h"

// Allocates for a thread whose current device this is. A request that would bring the sum of all
// blocks above the machine's memory is refused, because pages that are really pinned cannot be
// swapped out. A block of 0 bytes is a null pointer.
cudaError_t host_memory_allocate(int device, size_t byte_size, void **pointer);

// Accepts a null pointer and the start of a live block.
cudaError_t host_memory_free(void *pointer);

// Gives the number of the live blocks, and the sum of their sizes.
void host_memory_usage(uint64_t *block_count, uint64_t *byte_size);

// Finds the live block that contains the whole range, and gives the device that was current when
// the block was allocated. False when there is no such block.
bool host_memory_find(const void *pointer, size_t byte_size, int *device);

#endif
