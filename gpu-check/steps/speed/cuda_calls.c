// The CUDA runtime's own allocators behind the signature that costs least through bun:ffi.
//
// Its functions are declared by hand and looked up by name, as the package does it: nothing of CUDA
// has to be installed where this is compiled.
#include <assert.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    STREAM_NON_BLOCKING = 1,
    HOST_ALLOC_PORTABLE = 1,
    MEM_ALLOCATION_TYPE_PINNED = 1,
    MEM_LOCATION_TYPE_DEVICE = 1,
    MEM_POOL_ATTR_RELEASE_THRESHOLD = 4,
};

// struct cudaMemPoolProps, which is the same in CUDA 11.2 to 13 if the members that came later are
// zero.
struct mem_pool_props {
    int32_t allocation_type;
    int32_t handle_types;
    int32_t location_type;
    int32_t location_id;
    void *win32_security_attributes;
    size_t max_byte_size;
    unsigned char reserved[56];
};
static_assert(sizeof(struct mem_pool_props) == 88, "the runtime reads 88 bytes");

#define BLOCK_FUNCTIONS(X)                                                                         \
    X(const char *, cudaGetErrorName, (int error))                                                 \
    X(int, cudaGetLastError, (void))                                                               \
    X(int, cudaSetDevice, (int device))                                                            \
    X(int, cudaMalloc, (void **pointer, size_t byte_size))                                         \
    X(int, cudaFree, (void *pointer))                                                              \
    X(int, cudaHostAlloc, (void **pointer, size_t byte_size, unsigned int flags))                  \
    X(int, cudaFreeHost, (void *pointer))

// Functions that an older runtime and the simulator do not have.
#define STREAM_ORDERED_FUNCTIONS(X)                                                                \
    X(int, cudaStreamCreateWithFlags, (void **stream, unsigned int flags))                         \
    X(int, cudaStreamSynchronize, (void *stream))                                                  \
    X(int, cudaMemPoolCreate, (void **pool, const struct mem_pool_props *props))                   \
    X(int, cudaMemPoolSetAttribute, (void *pool, int attribute, void *value))                      \
    X(int, cudaDeviceSetMemPool, (int device, void *pool))                                         \
    X(int, cudaMallocAsync, (void **pointer, size_t byte_size, void *stream))                      \
    X(int, cudaFreeAsync, (void *pointer, void *stream))

#define POINTER(result, name, parameters) static result(*name) parameters;
BLOCK_FUNCTIONS(POINTER)
STREAM_ORDERED_FUNCTIONS(POINTER)

static void *library;
static int device;
static void *stream;
static char message[256];

#define LOOK_UP(result, name, parameters)                                                          \
    *(void **)&name = dlsym(library, #name);                                                       \
    if (name == NULL) return "the CUDA runtime has no " #name;

static const char *failure(const char *function, int error)
{
    snprintf(message, sizeof message, "%s returned %s (%d)", function, cudaGetErrorName(error),
             error);
    (void)cudaGetLastError();
    return message;
}

#define TRY(function, ...)                                                                         \
    do {                                                                                           \
        int error = function(__VA_ARGS__);                                                         \
        if (error != 0) return failure(#function, error);                                          \
    } while (0)

// Functions that open something return "", or why they could not.

const char *cuda_open(const char *cudart_path, double device_id)
{
    library = dlopen(cudart_path, RTLD_LAZY);
    if (library == NULL) return dlerror();
    BLOCK_FUNCTIONS(LOOK_UP)
    device = (int)device_id;
    TRY(cudaSetDevice, device);
    return "";
}

const char *cuda_open_stream(void)
{
    STREAM_ORDERED_FUNCTIONS(LOOK_UP)
    TRY(cudaStreamCreateWithFlags, &stream, STREAM_NON_BLOCKING);
    return "";
}

enum { MEM_POOL_COUNT_MAX = 8 };
static void *mem_pools[MEM_POOL_COUNT_MAX];

// Makes a pool of the driver's. Whenever something is synchronized it gives back what is free above
// the threshold; a negative threshold stands for "never".
const char *cuda_open_mem_pool(double index, double release_threshold)
{
    const struct mem_pool_props props = {
        .allocation_type = MEM_ALLOCATION_TYPE_PINNED,
        .location_type = MEM_LOCATION_TYPE_DEVICE,
        .location_id = device,
    };
    void **pool = &mem_pools[(int)index];
    TRY(cudaMemPoolCreate, pool, &props);
    uint64_t threshold = release_threshold < 0 ? UINT64_MAX : (uint64_t)release_threshold;
    TRY(cudaMemPoolSetAttribute, *pool, MEM_POOL_ATTR_RELEASE_THRESHOLD, &threshold);
    return "";
}

// Makes cudaMallocAsync take from this pool from now on.
int32_t cuda_use_mem_pool(double index)
{
    return cudaDeviceSetMemPool(device, mem_pools[(int)index]);
}

int32_t cuda_synchronize(void)
{
    return cudaStreamSynchronize(stream);
}

static double from_pointer(const void *pointer)
{
    return (double)(uintptr_t)pointer;
}

double cuda_malloc(double byte_size, double unused)
{
    (void)unused;
    void *pointer;
    return cudaMalloc(&pointer, (size_t)byte_size) == 0 ? from_pointer(pointer) : 0;
}

int32_t cuda_free(double address, double unused)
{
    (void)unused;
    return cudaFree((void *)(uintptr_t)address);
}

double cuda_malloc_async(double byte_size, double unused)
{
    (void)unused;
    void *pointer;
    return cudaMallocAsync(&pointer, (size_t)byte_size, stream) == 0 ? from_pointer(pointer) : 0;
}

int32_t cuda_free_async(double address, double unused)
{
    (void)unused;
    return cudaFreeAsync((void *)(uintptr_t)address, stream);
}

int32_t cuda_free_async_and_wait(double address, double unused)
{
    int error = cuda_free_async(address, unused);
    return error != 0 ? error : cuda_synchronize();
}

double cuda_host_alloc(double byte_size, double unused)
{
    (void)unused;
    void *pointer;
    int error = cudaHostAlloc(&pointer, (size_t)byte_size, HOST_ALLOC_PORTABLE);
    return error == 0 ? from_pointer(pointer) : 0;
}

int32_t cuda_free_host(double address, double unused)
{
    (void)unused;
    return cudaFreeHost((void *)(uintptr_t)address);
}
