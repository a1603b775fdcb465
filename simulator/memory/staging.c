#include "memory/staging.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Measured on an H100 with CUDA 13.0: a copy of 64 KiB is staged, and the caller of a copy of 4 MiB
// waits for it.
#define STAGED_BYTE_SIZE_MAX ((size_t)2 << 20)

static _Atomic size_t staged_byte_size;

static bool reserve(size_t byte_size)
{
    size_t before = staged_byte_size;
    do {
        if (byte_size > STAGED_BYTE_SIZE_MAX - before) return false;
    } while (!atomic_compare_exchange_weak(&staged_byte_size, &before, before + byte_size));
    return true;
}

void *staging_copy(const void *bytes, size_t byte_size)
{
    if (!reserve(byte_size)) return NULL;
    void *staged = malloc(byte_size);
    if (staged == NULL) staged_byte_size -= byte_size;
    else memcpy(staged, bytes, byte_size);
    return staged;
}

void staging_free(void *staged, size_t byte_size)
{
    if (staged == NULL) return;
    free(staged);
    staged_byte_size -= byte_size;
}
