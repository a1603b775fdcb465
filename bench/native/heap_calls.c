#include "heap_calls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// glibc's entry points behind the names that this file defines.
extern void *__libc_malloc(size_t byte_size);
extern void *__libc_calloc(size_t count, size_t byte_size);
extern void *__libc_realloc(void *memory, size_t byte_size);
extern void *__libc_memalign(size_t alignment, size_t byte_size);
extern void __libc_free(void *memory);

static atomic_ullong count;

uint64_t heap_call_count(void)
{
    return atomic_load(&count);
}

static void count_call(void)
{
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}

void *malloc(size_t byte_size)
{
    count_call();
    return __libc_malloc(byte_size);
}

void *calloc(size_t item_count, size_t byte_size)
{
    count_call();
    return __libc_calloc(item_count, byte_size);
}

void *realloc(void *memory, size_t byte_size)
{
    count_call();
    return __libc_realloc(memory, byte_size);
}

void *aligned_alloc(size_t alignment, size_t byte_size)
{
    count_call();
    return __libc_memalign(alignment, byte_size);
}

int posix_memalign(void **memory, size_t alignment, size_t byte_size)
{
    count_call();
    *memory = __libc_memalign(alignment, byte_size);
    return *memory == NULL ? ENOMEM : 0;
}

void free(void *memory)
{
    count_call();
    __libc_free(memory);
}

void *mmap(void *address, size_t byte_size, int protection, int flags, int file, off_t offset)
{
    count_call();
    return (void *)syscall(SYS_mmap, address, byte_size, protection, flags, file, offset);
}

int munmap(void *address, size_t byte_size)
{
    count_call();
    return (int)syscall(SYS_munmap, address, byte_size);
}

void *mremap(void *address, size_t old_byte_size, size_t byte_size, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    void *target = flags & MREMAP_FIXED ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    count_call();
    return (void *)syscall(SYS_mremap, address, old_byte_size, byte_size, flags, target);
}

int mprotect(void *address, size_t byte_size, int protection)
{
    count_call();
    return (int)syscall(SYS_mprotect, address, byte_size, protection);
}

int madvise(void *address, size_t byte_size, int advice)
{
    count_call();
    return (int)syscall(SYS_madvise, address, byte_size, advice);
}
