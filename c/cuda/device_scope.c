#include "cuda/device_scope.h"

#include <assert.h>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/lost.h"
#include "message.h"

enum { CAPTURE_MODE_RELAXED = 2 };

typedef struct driver_context driver_context;

// The driver's functions about contexts. They return a CUresult, whose values are those of cudaError_t.
static struct {
    int (*retain)(driver_context **context, int device);
    int (*get_state)(int device, unsigned int *flags, int *is_active);
    int (*push)(driver_context *context);
    int (*pop)(driver_context **context);
} driver;

static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

// The primary context of each device that was entered. Once retained, it is kept.
static driver_context *_Atomic contexts[DEVICE_COUNT_MAX];

// ---- The driver

static bool load_from(void *library)
{
    if (library == NULL) return false;
    *(void **)&driver.retain = dlsym(library, "cuDevicePrimaryCtxRetain");
    *(void **)&driver.get_state = dlsym(library, "cuDevicePrimaryCtxGetState");
    *(void **)&driver.pop = dlsym(library, "cuCtxPopCurrent_v2");
    *(void **)&driver.push = dlsym(library, "cuCtxPushCurrent_v2");
    return driver.retain != NULL && driver.get_state != NULL && driver.pop != NULL &&
           driver.push != NULL;
}

// The library that the runtime lies in, which may be the program itself.
static void *open_runtime(void)
{
    Dl_info info;
    struct link_map *map = NULL;
    const void *address = *(void **)&cudart.cudaMalloc;
    if (dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || map == NULL) return NULL;
    return dlopen(map->l_name[0] == '\0' ? NULL : map->l_name, RTLD_LAZY | RTLD_NOLOAD);
}

// The runtime's own library has them where it stands for the driver too; otherwise the runtime loads
// the driver when it is asked for its devices.
static void load(void)
{
    int device_count;
    int error = CUDART(cudaGetDeviceCount(&device_count));
    if (error != 0) cudart_note_error(error, "cudaGetDeviceCount");
    bool is_loaded =
        load_from(open_runtime()) || load_from(dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD));
    if (!is_loaded) driver.push = NULL;
}

static bool has_driver(void)
{
    (void)pthread_once(&driver_once, load);
    return driver.push != NULL;
}

// ---- The device, by its context or, without the driver's help, by its number

// Reads a result. False where the call has failed.
static bool succeeds(struct device_scope *scope, int error, const char *function)
{
    if (error != 0 && scope->error == 0) {
        scope->error = error;
        scope->function = function;
    }
    return error == 0;
}

static bool retain_context(struct device_scope *scope, driver_context **context)
{
    *context = contexts[scope->device];
    if (*context != NULL) return true;
    int error = cuda_is_lost() ? cuda_lost_error() : driver.retain(context, scope->device);
    if (!succeeds(scope, error, "cuDevicePrimaryCtxRetain")) return false;
    contexts[scope->device] = *context;
    return true;
}

static bool push_context(struct device_scope *scope)
{
    driver_context *context;
    if (!retain_context(scope, &context)) return false;
    int error = cuda_is_lost() ? cuda_lost_error() : driver.push(context);
    return succeeds(scope, error, "cuCtxPushCurrent_v2");
}

static bool set_device(struct device_scope *scope)
{
    int error = CUDART(cudaGetDevice(&scope->saved_device));
    if (!succeeds(scope, error, "cudaGetDevice")) return false;
    if (scope->saved_device == scope->device) return true;
    return succeeds(scope, CUDART(cudaSetDevice(scope->device)), "cudaSetDevice");
}

// What is the user's is put back, if need be at a second try. A failure is told even if that succeeds.
static void leave_device(struct device_scope *scope)
{
    driver_context *context;
    if (scope->is_pushed) {
        bool is_popped = succeeds(scope, driver.pop(&context), "cuCtxPopCurrent_v2");
        if (!is_popped) (void)driver.pop(&context);
    } else if (scope->saved_device != scope->device) {
        int error = CUDART(cudaSetDevice(scope->saved_device));
        if (!succeeds(scope, error, "cudaSetDevice")) {
            (void)CUDART(cudaSetDevice(scope->saved_device));
        }
    }
}

static void leave_capture_mode(struct device_scope *scope)
{
    int mode = scope->capture_mode;
    int error = CUDART(cudaThreadExchangeStreamCaptureMode(&mode));
    if (succeeds(scope, error, "cudaThreadExchangeStreamCaptureMode")) return;
    mode = scope->capture_mode;
    (void)CUDART(cudaThreadExchangeStreamCaptureMode(&mode));
}

// ---- Scopes

static enum memory_status check(const struct device_scope *scope, const char *doing)
{
    return cudart_check(scope->error, scope->function, "%s GPU %d", doing, scope->device);
}

enum memory_status device_scope_enter(struct device_scope *scope, int device)
{
    assert(device >= 0);
    *scope = (struct device_scope){.device = device, .capture_mode = CAPTURE_MODE_RELAXED};
    if (device >= DEVICE_COUNT_MAX) {
        message_add("failed to work on GPU %d: no more than %d GPUs can be used", device,
                    DEVICE_COUNT_MAX);
        return MEMORY_UNSUPPORTED;
    }
    scope->is_pushed = has_driver();
    if (!(scope->is_pushed ? push_context(scope) : set_device(scope))) {
        return check(scope, "work on");
    }
    int error = CUDART(cudaThreadExchangeStreamCaptureMode(&scope->capture_mode));
    if (succeeds(scope, error, "cudaThreadExchangeStreamCaptureMode")) return MEMORY_OK;
    leave_device(scope);
    return check(scope, "work on");
}

// Once CUDA is lost, too, as far as that goes.
static void leave_lost(const struct device_scope *scope)
{
    int mode = scope->capture_mode;
    (void)cudart.cudaThreadExchangeStreamCaptureMode(&mode);
    driver_context *context;
    if (scope->is_pushed) (void)driver.pop(&context);
}

enum memory_status device_scope_leave(struct device_scope *scope, enum memory_status status)
{
    if (cuda_is_lost()) {
        leave_lost(scope);
        return status;
    }
    leave_capture_mode(scope);
    leave_device(scope);
    enum memory_status restored = check(scope, "leave");
    return status < MEMORY_OK || restored == MEMORY_OK ? status : restored;
}

int32_t cuda_has_context(int32_t device_count)
{
    if (!has_driver()) return 1;
    for (int device = 0; device < device_count && device < DEVICE_COUNT_MAX; device++) {
        unsigned int flags;
        int is_active = 0;
        if (!cuda_is_lost() && driver.get_state(device, &flags, &is_active) == 0 && is_active) {
            return 1;
        }
    }
    return 0;
}
