#include "metadata_array.h"

#include <stdint.h>
#include <sys/mman.h>

enum { STEP_BYTE_SIZE = 64 * 1024 };

static size_t round_up_to_step(size_t byte_size)
{
    return (byte_size + STEP_BYTE_SIZE - 1) / STEP_BYTE_SIZE * STEP_BYTE_SIZE;
}

bool metadata_array_reserve(struct metadata_array *array, size_t byte_size)
{
    *array = (struct metadata_array){0};
    size_t reserved_byte_size = round_up_to_step(byte_size);
    // Inaccessible pages are not charged to the process, however strict overcommit is set.
    void *base = mmap(NULL, reserved_byte_size, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    array->base = base;
    array->reserved_byte_size = reserved_byte_size;
    return true;
}

bool metadata_array_grow(struct metadata_array *array, size_t byte_size)
{
    size_t target_byte_size = round_up_to_step(byte_size);
    if (target_byte_size > array->reserved_byte_size) return false;
    char *step = array->base + array->committed_byte_size;
    size_t step_byte_size = target_byte_size - array->committed_byte_size;
    if (mprotect(step, step_byte_size, PROT_READ | PROT_WRITE) != 0) return false;
#ifdef MADV_POPULATE_WRITE
    // One call instead of a page fault in each of the next requests; only an optimisation.
    (void)madvise(step, step_byte_size, MADV_POPULATE_WRITE);
#endif
    array->committed_byte_size = target_byte_size;
    return true;
}

void metadata_array_release(struct metadata_array *array)
{
    if (array->base != NULL) munmap(array->base, array->reserved_byte_size);
    *array = (struct metadata_array){0};
}
