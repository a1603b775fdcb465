// Copies and fills, in two steps: checking the arguments, which can fail, and moving the bytes,
// which takes its time, holds no lock and cannot fail.
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cudart_abi.h"

// From where to where. Pageable is host memory that is not pinned.
enum copy_path {
    COPY_DEVICE_TO_DEVICE,
    // In either direction.
    COPY_DEVICE_AND_PINNED,
    COPY_PAGEABLE_TO_DEVICE,
    COPY_DEVICE_TO_PAGEABLE,
    COPY_HOST_TO_HOST,
};

// Both pointers can be dereferenced by the host.
struct copy {
    char *destination;
    const char *source;
    size_t size;
    enum copy_path path;
    // Of the devices whose memory is read or written, the bits.
    uint64_t devices;
    // What the source is replaced by: see staging.h. NULL when it is not.
    void *staged;
};

cudaError_t copy_prepare(void *destination, const void *source, size_t size,
                         enum cudaMemcpyKind kind, struct copy *copy);
void copy_run(const struct copy *copy);

struct fill {
    char *destination;
    int value;
    size_t size;
    // Of pinned memory, not of a device's.
    bool on_host;
};

cudaError_t fill_prepare(void *destination, int value, size_t size, struct fill *fill);
void fill_run(const struct fill *fill);

#endif
