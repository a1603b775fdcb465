#include "failing_calls.h"

#include <errno.h>
#include <search.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

uint64_t failed_call_count;
int64_t live_map_count;

static uint64_t calls_until_failure; // 0 for none
static bool goes_on_failing;

void fail_call(uint64_t nth, bool for_good)
{
    calls_until_failure = nth;
    goes_on_failing = for_good;
}

static bool must_fail(void)
{
    if (calls_until_failure == 0) return false;
    if (calls_until_failure > 1) {
        calls_until_failure--;
        return false;
    }
    if (!goes_on_failing) calls_until_failure = 0;
    failed_call_count++;
    return true;
}

// The linker prescribes the names: a call of mmap becomes one of __wrap_mmap, and a call of
// __real_mmap one of mmap.

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);
int __real_mprotect(void *address, size_t size, int protection);
int __wrap_mprotect(void *address, size_t size, int protection);
int __real_posix_memalign(void **pointer, size_t alignment, size_t size);
int __wrap_posix_memalign(void **pointer, size_t alignment, size_t size);
void *__real_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));
void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *));

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    if (must_fail()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *mapped = __real_mmap(address, size, protection, flags, file, offset);
    if (mapped != MAP_FAILED) live_map_count++;
    return mapped;
}

int __wrap_munmap(void *address, size_t size)
{
    int result = __real_munmap(address, size);
    if (result == 0) live_map_count--;
    return result;
}

int __wrap_mprotect(void *address, size_t size, int protection)
{
    if (must_fail()) {
        errno = ENOMEM;
        return -1;
    }
    return __real_mprotect(address, size, protection);
}

int __wrap_posix_memalign(void **pointer, size_t alignment, size_t size)
{
    return must_fail() ? ENOMEM : __real_posix_memalign(pointer, alignment, size);
}

void *__wrap_tsearch(const void *key, void **root, int (*compare)(const void *, const void *))
{
    return must_fail() ? NULL : __real_tsearch(key, root, compare);
}
