// Everything that the library exports: the one source of the boundary between TypeScript and C.
// `src/native/memory-symbols.ts` declares the same for bun:ffi, and the tests have a compiler
// compare the two.
//
// Sizes, addresses and device ids travel as double, the fastest way through bun:ffi: all of them
// are whole numbers below 2^53. The caller has checked that they are whole and not negative.
//
// A call that can fail returns a memory_status, or an address where 0 stands for failure;
// memory_message() then says what happened. All calls are thread-safe.
#ifndef BUN_CUDA_MEMORY_H
#define BUN_CUDA_MEMORY_H

#include <stdint.h>

#define MEMORY_EXPORT __attribute__((visibility("default")))

// The negated values number the codes of MemoryError.
enum memory_status {
    MEMORY_OK = 0,
    MEMORY_UNKNOWN = -1,
    MEMORY_INTERNAL = -2,
    MEMORY_NOT_FOUND = -3,
    MEMORY_INVALID_ARG = -4,
    MEMORY_UNAVAILABLE = -5,
    MEMORY_UNSUPPORTED = -6,
    MEMORY_ALREADY_EXISTS = -7,
};

enum memory_type {
    MEMORY_CPU = 0,
    MEMORY_CPU_PINNED = 1,
    MEMORY_GPU = 2,
};

// A pool's statistics, in the order of the public PoolStats.
struct memory_pool_stats {
    double capacity_byte_size;
    double used_byte_size;
    double peak_used_byte_size;
    double free_byte_size;
    double largest_free_byte_size;
    double allocation_count;
    double failed_allocation_count;
};

// An allocation. The generation tells this life of its manager from every other, so
// that what outlives a reset is never mistaken for memory of a later pool.
struct memory_location {
    double address;   // 0 where there is none
    double byte_size; // as it was asked for
    double memory_type;
    double device_id; // 0 for host memory
    double generation;
};

// This thread's last message; more than one are divided by newlines.
MEMORY_EXPORT const char *memory_message(void);

// The absolute path at which the dynamic loader finds a library (one that is loaded already, first
// of all), or null.
MEMORY_EXPORT const char *library_path(const char *soname);

// ---- The CUDA runtime

// The process has one CUDA runtime, chosen by the first thread that asks. Returns the path that
// was claimed first, which is the argument's if nobody was before; "" stands for no runtime.
MEMORY_EXPORT const char *cudart_claim(const char *path);

// Hands over the address of a function of the claimed runtime. Functions that are not needed
// here are ignored.
MEMORY_EXPORT int32_t cudart_bind(const char *name, void *address);

// ---- CUDA memory

// MEMORY_ALREADY_EXISTS changes nothing. Where one reservation fails, none stays.
MEMORY_EXPORT int32_t cuda_memory_create(const double *device_ids, const double *byte_sizes,
                                         int32_t pool_count);
MEMORY_EXPORT double cuda_memory_alloc(double byte_size, double device_id);
// Why the last cuda_memory_alloc() of this thread returned 0.
MEMORY_EXPORT int32_t cuda_memory_alloc_status(void);
MEMORY_EXPORT int32_t cuda_memory_free(double address, double device_id);
MEMORY_EXPORT int32_t cuda_memory_stats(double device_id, struct memory_pool_stats *stats);
MEMORY_EXPORT int32_t cuda_memory_reset(void);

// ---- Pinned memory

// Without a pool the manager exists all the same: then the status is not MEMORY_OK, and the
// message is a warning. MEMORY_ALREADY_EXISTS changes nothing.
MEMORY_EXPORT int32_t pinned_memory_create(double byte_size);
// A return above 0 is success too, with a message: a fallback of a kind that this process has not
// been warned of yet, a line for each kind.
MEMORY_EXPORT int32_t pinned_memory_alloc(struct memory_location *location, double byte_size,
                                          int32_t allow_nonpinned_fallback);
MEMORY_EXPORT int32_t pinned_memory_free(double address);
MEMORY_EXPORT int32_t pinned_memory_stats(struct memory_pool_stats *stats);
// How many non-pinned fallbacks live, which no pool's statistics tell.
MEMORY_EXPORT double pinned_memory_nonpinned_count(void);
MEMORY_EXPORT int32_t pinned_memory_reset(void);

// ---- Allocated memory: CUDA memory, then pinned, then non-pinned system memory

// As pinned_memory_alloc().
MEMORY_EXPORT int32_t allocated_memory_alloc(struct memory_location *location, double byte_size,
                                             double memory_type, double device_id);
// Memory whose manager was reset is gone already, and freeing it does nothing.
MEMORY_EXPORT int32_t allocated_memory_free(double address, double memory_type, double device_id,
                                            double generation);
// The bytes of all three are in place when the call returns. The caller has checked that the ranges
// lie inside the allocations, and that those of a copy do not overlap.
MEMORY_EXPORT int32_t allocated_memory_write(const struct memory_location *target,
                                             double target_offset, const void *source,
                                             double byte_size);
MEMORY_EXPORT int32_t allocated_memory_read(const struct memory_location *source,
                                            double source_offset, void *target,
                                            double byte_size);
MEMORY_EXPORT int32_t allocated_memory_copy(const struct memory_location *target,
                                            double target_offset,
                                            const struct memory_location *source,
                                            double source_offset, double byte_size);

#endif
