// glibc's malloc and free behind the signature that costs least through bun:ffi.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

static void *(*libc_malloc)(size_t byte_size);
static void (*libc_free)(void *memory);

// Looks the functions up in libc itself, so that an allocator that was preloaded is not measured in
// glibc's name. Returns 0 where there is no glibc.
int32_t glibc_open(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (libc == NULL) return 0;
    *(void **)&libc_malloc = dlsym(libc, "malloc");
    *(void **)&libc_free = dlsym(libc, "free");
    return libc_malloc != NULL && libc_free != NULL && dlsym(libc, "gnu_get_libc_version") != NULL;
}

double glibc_alloc(double byte_size, double unused)
{
    (void)unused;
    return (double)(uintptr_t)libc_malloc((size_t)byte_size);
}

int32_t glibc_free(double address, double unused)
{
    (void)unused;
    libc_free((void *)(uintptr_t)address);
    return 0;
}
