#include "cuda/device_scope.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/lost.h"

typedef struct driver_context driver_context;

// The driver's functions about contexts. They return a CUresult, whose values are those of cudaError_t.
static struct {
    int (*init)(unsigned int flags);
    int (*retain)(driver_context **context, int device);
    int (*get_state)(int device, unsigned int *flags, int *is_active);
    int (*push)(driver_context *context);
    int (*pop)(driver_context **context);
} driver;

static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

// The primary context of each device that was entered. Once retained, it is kept.
static driver_context *_Atomic contexts[DEVICE_COUNT_MAX];

static bool load_from(void *library)
{
    if (library == NULL) return false;
    *(void **)&driver.init = dlsym(library, "cuInit");
    *(void **)&driver.retain = dlsym(library, "cuDevicePrimaryCtxRetain");
    *(void **)&driver.get_state = dlsym(library, "cuDevicePrimaryCtxGetState");
    *(void **)&driver.pop = dlsym(library, "cuCtxPopCurrent_v2");
    *(void **)&driver.push = dlsym(library, "cuCtxPushCurrent_v2");
    bool has_all = driver.init != NULL && driver.retain != NULL && driver.get_state != NULL &&
                   driver.pop != NULL && driver.push != NULL;
    // Nobody may have asked the runtime for anything yet, which would have done it.
    return has_all && driver.init(0) == 0;
}

// The runtime's own library has them where it stands for the driver too; otherwise the runtime has
// loaded the driver, when it was asked for its devices.
static void load(void)
{
    Dl_info runtime;
    const void *address = *(void **)&cudart.cudaMalloc;
    bool is_loaded = dladdr(address, &runtime) != 0 &&
                     load_from(dlopen(runtime.dli_fname, RTLD_LAZY | RTLD_NOLOAD));
    if (!is_loaded) is_loaded = load_from(dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD));
    if (!is_loaded) driver.push = NULL;
}

static bool has_driver(void)
{
    (void)pthread_once(&driver_once, load);
    return driver.push != NULL;
}

static enum memory_status check(struct device_scope *scope, int error, const char *function,
                                const char *doing)
{
    scope->error = error;
    scope->function = function;
    return cudart_check(error, function, "%s GPU %d", doing, scope->device);
}

static enum memory_status enter_context(struct device_scope *scope)
{
    driver_context *context = contexts[scope->device];
    if (context == NULL) {
        int error = cuda_is_lost() ? cuda_lost_error() : driver.retain(&context, scope->device);
        enum memory_status status =
            check(scope, error, "cuDevicePrimaryCtxRetain", "make a context on");
        if (status != MEMORY_OK) return status;
        contexts[scope->device] = context;
    }
    int error = cuda_is_lost() ? cuda_lost_error() : driver.push(context);
    return check(scope, error, "cuCtxPushCurrent", "work on");
}

static enum memory_status leave_context(struct device_scope *scope)
{
    driver_context *context;
    // Also once CUDA is lost: the thread's stack of contexts is the user's.
    return check(scope, driver.pop(&context), "cuCtxPopCurrent", "leave");
}

enum memory_status device_scope_enter(struct device_scope *scope, int device)
{
    *scope = (struct device_scope){.is_pushed = has_driver(), .device = device};
    if (scope->is_pushed) return enter_context(scope);
    enum memory_status status = check(scope, CUDART(cudaGetDevice(&scope->saved_device)),
                                      "cudaGetDevice", "read the current GPU, to work on");
    if (status != MEMORY_OK || scope->saved_device == device) return status;
    return check(scope, CUDART(cudaSetDevice(device)), "cudaSetDevice", "make current");
}

enum memory_status device_scope_leave(struct device_scope *scope, enum memory_status status)
{
    enum memory_status restored = MEMORY_OK;
    if (scope->is_pushed) {
        restored = leave_context(scope);
    } else if (scope->saved_device != scope->device) {
        restored = check(scope, CUDART(cudaSetDevice(scope->saved_device)), "cudaSetDevice",
                         "make another GPU current again after working on");
    }
    return status != MEMORY_OK ? status : restored;
}

bool device_scope_any_context(int device_count)
{
    if (!has_driver()) return true;
    for (int device = 0; device < device_count && device < DEVICE_COUNT_MAX; device++) {
        unsigned int flags;
        int is_active = 0;
        if (!cuda_is_lost() && driver.get_state(device, &flags, &is_active) == 0 && is_active) {
            return true;
        }
    }
    return false;
}
