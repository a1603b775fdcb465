#include "pool_library.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/native/bind_cudart.h"

static const char *(*message)(void);

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *allocate_or_fail(uint64_t count, uint64_t item_byte_size)
{
    void *memory = calloc(count, item_byte_size);
    if (memory == NULL) fail("there is no memory for %llu items", (unsigned long long)count);
    return memory;
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fail("%s", dlerror());
    return library;
}

static void *symbol_of(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL) fail("%s", dlerror());
    return symbol;
}

static void open_cudart(void *pools, const char *cudart_path)
{
    void *runtime = open_library(cudart_path);
    const char *(*claim)(const char *);
    void (*bind)(const char *, void *);
    *(void **)&claim = symbol_of(pools, "cudart_claim");
    *(void **)&bind = symbol_of(pools, "cudart_bind");
    claim(cudart_path);
    const char *missing = bind_cudart(runtime, bind);
    if (missing != NULL) fail("the CUDA runtime has no %s", missing);
}

struct pool_library pool_library_open(const char *path, const char *cudart_path)
{
    void *pools = open_library(path);
    struct pool_library library;
    *(void **)&library.create = symbol_of(pools, "cuda_memory_create");
    *(void **)&library.alloc = symbol_of(pools, "cuda_memory_alloc");
    *(void **)&library.free = symbol_of(pools, "cuda_memory_free");
    *(void **)&library.reset = symbol_of(pools, "cuda_memory_reset");
    *(void **)&message = symbol_of(pools, "memory_message");
    open_cudart(pools, cudart_path);
    return library;
}

void pool_library_create(const struct pool_library *library, double byte_size)
{
    double device_id = 0;
    if (library->create(&device_id, &byte_size, 1, NULL) != 0) fail("%s", message());
}

double pool_library_alloc(const struct pool_library *library, double byte_size)
{
    double address = library->alloc(byte_size, 0);
    if (address <= 0) fail("%s", message());
    return address;
}

void pool_library_free(const struct pool_library *library, double address)
{
    if (library->free(address, 0) != 0) fail("%s", message());
}
