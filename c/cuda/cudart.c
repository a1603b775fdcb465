#include "cuda/cudart.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "message.h"

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

// Guards the claim and the binding. Whoever calls the runtime has bound it, or found it bound, in
// its own thread before, so the table is read without it.
static pthread_mutex_t binding_lock = PTHREAD_MUTEX_INITIALIZER;

const char *cudart_claim(const char *path)
{
    static char claimed_path[PATH_BYTE_SIZE_MAX];
    static bool is_claimed;
    pthread_mutex_lock(&binding_lock);
    if (!is_claimed) {
        snprintf(claimed_path, sizeof claimed_path, "%s", path);
        is_claimed = true;
    }
    pthread_mutex_unlock(&binding_lock);
    return claimed_path; // never changes again
}

int32_t cudart_bind(const char *name, void *address)
{
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(functions[i].name, name) != 0) continue;
        void **slot = (void **)(void *)((char *)&cudart + functions[i].offset);
        pthread_mutex_lock(&binding_lock);
        // Later threads bind the same runtime, while earlier ones may be calling it.
        if (*slot == NULL) *slot = address;
        pthread_mutex_unlock(&binding_lock);
    }
    return MEMORY_OK;
}

bool cudart_is_bound(void)
{
    return cudart.cudaMalloc != NULL; // all are bound or none is
}

static int32_t report(int error, const char *function, const char *format, va_list arguments)
{
    char doing[256];
    vsnprintf(doing, sizeof doing, format, arguments);
    message_add("failed to %s: %s returned %s (%d): %s", doing, function,
                cudart.cudaGetErrorName(error), error, cudart.cudaGetErrorString(error));
    // The error has been taken note of: this thread's next user of CUDA must not find it.
    (void)cudart.cudaGetLastError();
    return MEMORY_INTERNAL;
}

int32_t cudart_check(int error, const char *function, const char *format, ...)
{
    if (error == 0) return MEMORY_OK;
    va_list arguments;
    va_start(arguments, format);
    int32_t status = report(error, function, format, arguments);
    va_end(arguments);
    return status;
}

int32_t cudart_check_done(int error, const char *function, const char *format, ...)
{
    if (error == 0) return MEMORY_OK;
    if (error == CUDA_ERROR_NOT_READY) return 1; // of which CUDA keeps no note as an error
    va_list arguments;
    va_start(arguments, format);
    int32_t status = report(error, function, format, arguments);
    va_end(arguments);
    return status;
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

int32_t cudart_enter_device(int device, int *saved_device)
{
    int32_t status = cudart_get_device(saved_device);
    if (status != MEMORY_OK || *saved_device == device) return status;
    return cudart_set_device(device);
}

int32_t cudart_leave_device(int device, int saved_device, int32_t status)
{
    if (saved_device == device) return status;
    int32_t restored = cudart_set_device(saved_device);
    return status != MEMORY_OK ? status : restored;
}
