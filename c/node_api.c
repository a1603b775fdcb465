// The part of this library that Bun loads as a Node-API addon, beside what bun:ffi calls: only
// Node-API detaches an ArrayBuffer without copying its bytes where the runtime holds on to it.

#include <stddef.h>

#include "bun_cuda_memory.h"

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);

enum { NAPI_OK = 0 };
#define NAPI_AUTO_LENGTH SIZE_MAX

// Bun's executable has these. Programs that use the library without Bun have not, and call none.
__attribute__((weak)) int napi_create_function(napi_env env, const char *name, size_t length,
                                               napi_callback callback, void *data,
                                               napi_value *result);
__attribute__((weak)) int napi_get_cb_info(napi_env env, napi_callback_info info,
                                           size_t *argument_count, napi_value *arguments,
                                           napi_value *receiver, void **data);
__attribute__((weak)) int napi_detach_arraybuffer(napi_env env, napi_value array_buffer);
__attribute__((weak)) int napi_create_int32(napi_env env, int32_t value, napi_value *result);

MEMORY_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports);

// detachArrayBuffer(buffer: ArrayBuffer): number. Returns a napi_status: 0 where the buffer is detached.
static napi_value detach_array_buffer(napi_env env, napi_callback_info info)
{
    size_t argument_count = 1;
    napi_value buffer;
    napi_value result = NULL;
    int status = napi_get_cb_info(env, info, &argument_count, &buffer, NULL, NULL);
    if (status == NAPI_OK) status = napi_detach_arraybuffer(env, buffer);
    return napi_create_int32(env, status, &result) == NAPI_OK ? result : NULL;
}

napi_value napi_register_module_v1(napi_env env, napi_value exports)
{
    napi_value function;
    int status = napi_create_function(env, "detachArrayBuffer", NAPI_AUTO_LENGTH,
                                      detach_array_buffer, NULL, &function);
    return status == NAPI_OK ? function : exports;
}
