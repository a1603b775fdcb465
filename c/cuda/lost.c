#include "cuda/lost.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "message.h"

// The errors that leave the process without CUDA, as NVIDIA documents them, and those of broken memory
// and of a context that is gone.
static const int fatal_errors[] = {
    214, // cudaErrorECCUncorrectable
    220, // cudaErrorNvlinkUncorrectable
    226, // cudaErrorContained
    700, // cudaErrorIllegalAddress
    702, // cudaErrorLaunchTimeout
    709, // cudaErrorContextIsDestroyed
    710, // cudaErrorAssert
    714, // cudaErrorHardwareStackError
    715, // cudaErrorIllegalInstruction
    716, // cudaErrorMisalignedAddress
    717, // cudaErrorInvalidAddressSpace
    718, // cudaErrorInvalidPc
    719, // cudaErrorLaunchFailure
    721, // cudaErrorTensorMemoryLeak
    810, // cudaErrorMpsClientTerminated
    911, // cudaErrorExternalDevice
};

static _Atomic int lost_error;
static void (*on_lost)(void);

// 1 from when CUDA is lost until somebody takes the report of it.
static _Atomic uint32_t has_report;

// Written once, before lost_error is.
static char reason[512];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool cuda_is_lost(void)
{
    return atomic_load_explicit(&lost_error, memory_order_acquire) != 0;
}

int cuda_lost_error(void)
{
    return atomic_load_explicit(&lost_error, memory_order_acquire);
}

const char *cuda_lost_reason(void)
{
    return cuda_is_lost() ? reason : "";
}

bool cuda_is_fatal(int error)
{
    for (size_t i = 0; i < sizeof fatal_errors / sizeof fatal_errors[0]; i++) {
        if (fatal_errors[i] == error) return true;
    }
    return false;
}

void cuda_lose(int error, const char *function, const char *name, const char *text)
{
    pthread_mutex_lock(&lock);
    bool is_first = lost_error == 0;
    if (is_first) {
        snprintf(reason, sizeof reason,
                 "CUDA has failed for good in this process: %s returned %s (%d): %s", function,
                 name, error, text);
        atomic_store_explicit(&lost_error, error, memory_order_release);
        has_report = 1;
    }
    pthread_mutex_unlock(&lock);
    if (is_first && on_lost != NULL) on_lost();
}

void cuda_on_lost(void (*function)(void))
{
    pthread_mutex_lock(&lock);
    on_lost = function;
    pthread_mutex_unlock(&lock);
}

enum memory_status cuda_refuse_as_lost(const char *format, ...)
{
    char doing[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(doing, sizeof doing, format, arguments);
    va_end(arguments);
    message_add("failed to %s: %s; start another process", doing, reason);
    message_set_cuda_error(cuda_lost_error());
    return MEMORY_DEVICE_LOST;
}

enum memory_status cuda_check_lost(void)
{
    return cuda_is_lost() ? MEMORY_DEVICE_LOST : MEMORY_OK;
}

enum memory_status cuda_refuse_if_lost(const char *doing)
{
    if (!cuda_is_lost()) return MEMORY_OK;
    message_clear();
    return cuda_refuse_as_lost("%s", doing);
}

double cuda_lost_report_address(void)
{
    return (double)(uintptr_t)&has_report;
}

enum memory_status cuda_take_lost_report(void)
{
    if (atomic_exchange(&has_report, 0) == 0) return MEMORY_NOT_DONE;
    message_clear();
    message_add(
        "%s. Every further use of a GPU would fail "
        "in the same way, so CUDA is not called any more: requests for GPU memory are "
        "served as after a full pool, and what is in GPU memory is lost. Finish what can be "
        "finished, and start the process again",
        reason);
    return MEMORY_OK;
}
