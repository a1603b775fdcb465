// Copies and fills (CUDA's memcpy and memset), in two steps: checking the arguments, which can fail,
// and moving the bytes, which takes its time, holds no lock and cannot fail.
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "cudart_abi.h"

// The kinds of memory between which a copy goes. Pageable is host memory that is not pinned.
enum copy_path {
    COPY_DEVICE_TO_DEVICE,
    COPY_DEVICE_AND_PINNED, // in either direction
    COPY_PAGEABLE_TO_DEVICE,
    COPY_DEVICE_TO_PAGEABLE,
    COPY_HOST_TO_HOST,
};

enum { NO_DEVICE = -1 };

// Both pointers can be dereferenced by the host.
struct copy {
    char *destination;
    const char *source;
    size_t byte_size;
    enum copy_path path;
    // The devices whose memory is written and read, or NO_DEVICE for the host's.
    int destination_device;
    int source_device;
    // A copy of the source's bytes, which is read in its place; see staging.h. NULL when there is
    // none.
    void *staged;
};

cudaError_t copy_prepare(void *destination, const void *source, size_t byte_size,
                         enum cudaMemcpyKind kind, struct copy *copy);
void copy_run(const struct copy *copy);

// Whether the copy reads the memory of one device and writes that of another.
static inline bool is_between_devices(const struct copy *copy)
{
    return copy->destination_device != NO_DEVICE && copy->source_device != NO_DEVICE &&
           copy->destination_device != copy->source_device;
}

struct fill {
    char *destination;
    int value;
    size_t byte_size;
    // It fills pinned memory, and not a device's.
    bool is_on_host;
};

cudaError_t fill_prepare(void *destination, int value, size_t byte_size, struct fill *fill);
void fill_run(const struct fill *fill);

#endif
