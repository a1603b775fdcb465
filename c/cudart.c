#include "cudart.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle.h"
#include "status.h"

enum { PATH_BYTE_SIZE_MAX = 4096 };

struct cudart cudart;

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define CUDART_ENTRY(result, name, parameters) {#name, offsetof(struct cudart, name)},
    CUDART_FUNCTIONS(CUDART_ENTRY)
#undef CUDART_ENTRY
};

enum { FUNCTION_COUNT = sizeof functions / sizeof functions[0] };

const char *cudart_claim(const char *path)
{
    static char claimed_path[PATH_BYTE_SIZE_MAX];
    static bool is_claimed;
    lifecycle_lock_exclusive();
    if (!is_claimed) {
        snprintf(claimed_path, sizeof claimed_path, "%s", path);
        is_claimed = true;
    }
    lifecycle_unlock();
    return claimed_path; // never changes again
}

int32_t cudart_bind(const char *name, void *address)
{
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(functions[i].name, name) != 0) continue;
        lifecycle_lock_exclusive();
        memcpy((char *)&cudart + functions[i].offset, &address, sizeof address);
        lifecycle_unlock();
    }
    return MEMORY_OK;
}

bool cudart_is_bound(void)
{
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        void *address;
        memcpy(&address, (const char *)&cudart + functions[i].offset, sizeof address);
        if (address == NULL) return false;
    }
    return true;
}

int32_t cudart_check(int error, const char *function, const char *format, ...)
{
    if (error == 0) return MEMORY_OK;
    char doing[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(doing, sizeof doing, format, arguments);
    va_end(arguments);
    report_more("failed to %s: %s returned %s (%d): %s", doing, function,
                cudart.cudaGetErrorName(error), error, cudart.cudaGetErrorString(error));
    // The error has been taken note of: this thread's next user of CUDA must not find it.
    (void)cudart.cudaGetLastError();
    return MEMORY_INTERNAL;
}

int32_t cudart_get_device(int *device)
{
    return cudart_check(cudart.cudaGetDevice(device), "cudaGetDevice", "read the current GPU");
}

int32_t cudart_set_device(int device)
{
    return cudart_check(cudart.cudaSetDevice(device), "cudaSetDevice", "make GPU %d current",
                        device);
}
