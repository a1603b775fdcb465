#include "pool/metadata_array.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

enum {
    STEP_BYTE_SIZE = 64 * 1024,
    HUGE_PAGE_BYTE_SIZE = 2 * 1024 * 1024,
};

static size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

bool metadata_array_reserve(struct metadata_array *array, size_t byte_size)
{
    *array = (struct metadata_array){0};
    size_t reserved_byte_size = round_up(byte_size, STEP_BYTE_SIZE);
    // Inaccessible pages are not charged to the process, however strict overcommit is set.
    void *base = mmap(NULL, reserved_byte_size, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    array->base = base;
    array->reserved_byte_size = reserved_byte_size;
    array->huge_from_byte_size = SIZE_MAX;
    return true;
}

// The size up to the next boundary between huge pages, as far as the reservation goes.
static size_t size_to_huge_boundary(const struct metadata_array *array, size_t byte_size)
{
    size_t end = round_up((uintptr_t)array->base + byte_size, HUGE_PAGE_BYTE_SIZE);
    size_t size = end - (uintptr_t)array->base;
    return size < array->reserved_byte_size ? size : array->reserved_byte_size;
}

// Asks for memory in advance. The system may ignore all of it, which changes only the speed.
static void populate(const struct metadata_array *array, size_t byte_size, bool is_huge)
{
    char *step = array->base + array->committed_byte_size;
    size_t step_byte_size = byte_size - array->committed_byte_size;
#ifdef MADV_HUGEPAGE
    if (is_huge) (void)madvise(array->base, byte_size, MADV_HUGEPAGE);
#endif
#ifdef MADV_POPULATE_WRITE
    // One call here saves a page fault in each of the next requests.
    (void)madvise(step, step_byte_size, MADV_POPULATE_WRITE);
#endif
#ifdef MADV_COLLAPSE
    // The first huge page begins with the small ones of the steps before.
    bool is_first = array->committed_byte_size < HUGE_PAGE_BYTE_SIZE;
    if (is_huge && is_first) (void)madvise(array->base, byte_size, MADV_COLLAPSE);
#endif
}

bool metadata_array_grow(struct metadata_array *array, size_t byte_size)
{
    assert(array->committed_byte_size <= array->reserved_byte_size);
    bool is_huge = byte_size > array->huge_from_byte_size;
    size_t target_byte_size = round_up(byte_size, STEP_BYTE_SIZE);
    if (is_huge) target_byte_size = size_to_huge_boundary(array, target_byte_size);
    if (target_byte_size > array->reserved_byte_size || target_byte_size < byte_size) return false;
    size_t step_byte_size = target_byte_size - array->committed_byte_size;
    if (mprotect(array->base + array->committed_byte_size, step_byte_size,
                 PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    populate(array, target_byte_size, is_huge);
    array->committed_byte_size = target_byte_size;
    return true;
}

void metadata_array_release(struct metadata_array *array)
{
    if (array->base != NULL) munmap(array->base, array->reserved_byte_size);
    *array = (struct metadata_array){0};
}
