#include "memory/staging.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// An H100 with CUDA 13.0 stages 64 KiB, and makes the caller of a copy of 4 MiB wait for its turn.
#define MAX_STAGED_BYTES ((size_t)2 << 20)

static _Atomic size_t staged_bytes;

static bool reserve(size_t size)
{
    size_t before = staged_bytes;
    do {
        if (size > MAX_STAGED_BYTES - before) return false;
    } while (!atomic_compare_exchange_weak(&staged_bytes, &before, before + size));
    return true;
}

void *staging_take(const void *bytes, size_t size)
{
    if (!reserve(size)) return NULL;
    void *staged = malloc(size);
    if (staged == NULL) staged_bytes -= size;
    else memcpy(staged, bytes, size);
    return staged;
}

void staging_release(void *staged, size_t size)
{
    if (staged == NULL) return;
    free(staged);
    staged_bytes -= size;
}
