// An array that grows without ever moving: address space for its largest size is reserved at the
// start, memory is taken in steps as elements are needed. Growing is one system call in thousands
// of elements, a pointer into the array stays valid, and an array that nobody uses costs nothing.
#ifndef METADATA_ARRAY_H
#define METADATA_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

struct metadata_array {
    char *base;
    size_t reserved_byte_size;
    size_t committed_byte_size;
    // From this size on the array grows by huge pages, which spare the processor most of its
    // address translations and cost up to 2 MiB that may stay unused. SIZE_MAX, which is never, until the owner sets it.
    size_t huge_from_byte_size;
};

// Reserves address space for `byte_size` bytes. False where the system refuses; the array is then
// empty and needs no release.
bool metadata_array_reserve(struct metadata_array *array, size_t byte_size);

// Makes the first `byte_size` bytes usable; new bytes are zero. False where the system refuses or
// the reservation is too small: what was usable before still is.
bool metadata_array_grow(struct metadata_array *array, size_t byte_size);

void metadata_array_release(struct metadata_array *array);

static inline bool metadata_array_ensure(struct metadata_array *array, size_t byte_size)
{
    return __builtin_expect(byte_size <= array->committed_byte_size, 1) ||
           metadata_array_grow(array, byte_size);
}

#endif
