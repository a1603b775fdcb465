#include "cuda/cudart.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

// Guards the claim and the binding. A thread that calls the runtime has bound it, or found it bound,
// before, so the table is read without the lock.
static pthread_mutex_t binding_lock = PTHREAD_MUTEX_INITIALIZER;

const char *cudart_claim(const char *path)
{
    static char claimed_path[PATH_BYTE_SIZE_MAX];
    static bool is_claimed;
    pthread_mutex_lock(&binding_lock);
    if (!is_claimed && path != NULL) {
        snprintf(claimed_path, sizeof claimed_path, "%s", path);
        is_claimed = true;
    }
    bool has_claim = is_claimed;
    pthread_mutex_unlock(&binding_lock);
    return has_claim ? claimed_path : NULL; // never changes again
}

void cudart_bind(const char *name, void *address)
{
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(functions[i].name, name) != 0) continue;
        void **slot = (void **)(void *)((char *)&cudart + functions[i].offset);
        pthread_mutex_lock(&binding_lock);
        // A later thread binds the same runtime again, while earlier threads may be calling it.
        if (*slot == NULL) *slot = address;
        pthread_mutex_unlock(&binding_lock);
    }
}

bool cudart_is_bound(void)
{
    return cudart.cudaMalloc != NULL; // either all functions are bound or none is
}

void cudart_clear_last_error(void)
{
    (void)CUDART(cudaGetLastError());
}

void cudart_note_error(int error, const char *function)
{
    if (cuda_is_lost()) return;
    const char *name = cudart.cudaGetErrorName(error);
    const char *text = cudart.cudaGetErrorString(error);
    cudart_clear_last_error();
    if (cuda_is_fatal(error)) cuda_lose(error, function, name, text);
}

static enum memory_status report(int error, const char *function, const char *format,
                                 va_list arguments)
{
    char doing[256];
    vsnprintf(doing, sizeof doing, format, arguments);
    if (!cuda_is_lost()) cudart_note_error(error, function);
    if (cuda_is_lost()) return cuda_refuse_as_lost("%s", doing);
    message_add("failed to %s: %s returned %s (%d): %s", doing, function,
                cudart.cudaGetErrorName(error), error, cudart.cudaGetErrorString(error));
    message_set_cuda_error(error);
    return MEMORY_INTERNAL;
}

enum memory_status cudart_check(int error, const char *function, const char *format, ...)
{
    if (error == 0) return MEMORY_OK;
    va_list arguments;
    va_start(arguments, format);
    enum memory_status status = report(error, function, format, arguments);
    va_end(arguments);
    return status;
}

enum memory_status cudart_check_done(int error, const char *function, const char *format, ...)
{
    if (error == 0) return MEMORY_OK;
    if (error == CUDA_ERROR_NOT_READY) return MEMORY_NOT_DONE; // CUDA keeps it as no last error
    va_list arguments;
    va_start(arguments, format);
    enum memory_status status = report(error, function, format, arguments);
    va_end(arguments);
    return status;
}

enum memory_status cuda_note_error(int32_t error, const char *function)
{
    message_clear();
    cudart_note_error(error, function);
    return cuda_check_lost();
}
