// Copies and fills, in two steps: checking the arguments, which can fail, and moving the bytes,
// which takes its time, holds no lock and cannot fail.
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stddef.h>

#include "cudart_abi.h"

// Both pointers can be dereferenced by the host.
struct copy {
    char *destination;
    const char *source;
    size_t size;
};

cudaError_t copy_prepare(void *destination, const void *source, size_t size,
                         enum cudaMemcpyKind kind, struct copy *copy);
void copy_run(const struct copy *copy);

struct fill {
    char *destination;
    int value;
    size_t size;
};

cudaError_t fill_prepare(void *destination, int value, size_t size, struct fill *fill);
void fill_run(const struct fill *fill);

#endif
