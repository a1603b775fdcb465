// The pool library as TypeScript has it, with a pool on the first GPU, for measurements that
// TypeScript would disturb.
#ifndef POOL_LIBRARY_H
#define POOL_LIBRARY_H

#include <stdint.h>

struct pool_library {
    int32_t (*create)(const double *device_ids, const double *byte_sizes, int32_t pool_count,
                      const void *settings);
    double (*alloc)(double byte_size, double device_id);
    int32_t (*free)(double address, double device_id);
    int32_t (*reset)(void);
};

// Ends the process where the library, or the CUDA runtime, cannot be loaded.
struct pool_library pool_library_open(const char *path, const char *cudart_path);

// Ends the process where there is no room for the pool.
void pool_library_create(const struct pool_library *library, double byte_size);

// Ends the process where the pool is full.
double pool_library_alloc(const struct pool_library *library, double byte_size);

// Ends the process where the address is not live.
void pool_library_free(const struct pool_library *library, double address);

// Writes to stderr, and ends the process.
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

// Ends the process where there is no memory.
void *allocate_or_fail(uint64_t count, uint64_t item_byte_size);

#endif
