#include "process/context.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "process/config.h"
#include "process/thread_state.h"

struct context {
    bool is_runtimes;
    int retain_count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// A context's handle is the address of its entry.
static struct context contexts[DEVICE_COUNT_MAX];

static CUcontext handle_of(int device)
{
    return (CUcontext)(void *)&contexts[device];
}

// The device of a handle, or -1.
static int device_of(CUcontext handle)
{
    uintptr_t offset = (uintptr_t)handle - (uintptr_t)contexts;
    if (offset % sizeof *contexts != 0) return -1;
    size_t index = offset / sizeof *contexts;
    return index < (size_t)config_get()->device_count ? (int)index : -1;
}

bool context_is_active(int device)
{
    pthread_mutex_lock(&lock);
    bool is_active = contexts[device].is_runtimes || contexts[device].retain_count > 0;
    pthread_mutex_unlock(&lock);
    return is_active;
}

void context_ensure(int device)
{
    pthread_mutex_lock(&lock);
    contexts[device].is_runtimes = true;
    pthread_mutex_unlock(&lock);
}

void context_ensure_current(void)
{
    context_ensure(thread_state.current_device);
    thread_state.has_context = true;
}

void context_set_device(int device)
{
    thread_state.current_device = device;
    context_ensure_current();
}

CUcontext context_retain(int device)
{
    pthread_mutex_lock(&lock);
    contexts[device].retain_count++;
    pthread_mutex_unlock(&lock);
    return handle_of(device);
}

bool context_release(int device)
{
    pthread_mutex_lock(&lock);
    bool is_retained = contexts[device].retain_count > 0;
    if (is_retained) contexts[device].retain_count--;
    pthread_mutex_unlock(&lock);
    return is_retained;
}

CUcontext context_current(void)
{
    return thread_state.has_context ? handle_of(thread_state.current_device) : NULL;
}

CUresult context_push(CUcontext context)
{
    struct thread_state *state = &thread_state;
    int device = device_of(context);
    if (device < 0 || !context_is_active(device)) return CUDA_ERROR_INVALID_CONTEXT;
    if (state->pushed_count == PUSHED_COUNT_MAX) return CUDA_ERROR_OUT_OF_MEMORY;
    state->below[state->pushed_count++] =
        (struct current_device){state->current_device, state->has_context};
    state->current_device = device;
    state->has_context = true;
    return CUDA_SUCCESS;
}

CUresult context_pop(CUcontext *context)
{
    struct thread_state *state = &thread_state;
    if (!state->has_context) return CUDA_ERROR_INVALID_CONTEXT;
    if (context != NULL) *context = context_current();
    if (state->pushed_count == 0) {
        state->has_context = false;
    } else {
        struct current_device below = state->below[--state->pushed_count];
        state->current_device = below.device;
        state->has_context = below.has_context;
    }
    return CUDA_SUCCESS;
}
