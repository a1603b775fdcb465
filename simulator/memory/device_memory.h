// The memory of the devices. A device pointer lies in an address range that the host may not touch;
// the bytes behind it are reached through an alias, a second range over the device's memory.
// Every function may be called from any thread.
#ifndef DEVICE_MEMORY_H
#define DEVICE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cudart_abi.h"

// Allocates on a device, which must exist. A block of 0 bytes is a null pointer.
cudaError_t device_memory_allocate(int device, size_t byte_size, void **pointer);

// Accepts a null pointer and the start of a live block, whatever its device.
cudaError_t device_memory_free(void *pointer);

// Gives the number of the device's live blocks, and the sum of their sizes. The device must exist.
void device_memory_usage(int device, uint64_t *block_count, uint64_t *byte_size);

// Gives the device of the live block in which the pointer lies. False when it lies in none.
bool device_memory_find(const void *pointer, int *device);

enum device_range {
    // The range does not start in the address space of a device.
    DEVICE_RANGE_OUTSIDE,
    // The range lies in one live block.
    DEVICE_RANGE_LIVE,
    // The range starts in the address space of a device, but does not lie in one live block.
    DEVICE_RANGE_INVALID,
};

// Classifies a range, and gives its device and the alias of its start if the range is live. The
// alias stays mapped as long as the process runs: a caller that uses it after the block is freed
// reads and writes bytes that nobody owns or that the next owner has, as on a real device.
enum device_range device_memory_locate(const void *pointer, size_t byte_size, int *device,
                                       char **alias);

#endif
