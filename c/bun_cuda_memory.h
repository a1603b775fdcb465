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

// A queue of work for a GPU. The id tells it from every other stream, also where CUDA gives a handle
// again.
struct memory_stream {
    double handle; // a cudaStream_t
    double device_id;
    double id;
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
// For whoever can do without: pinned memory that is to be had at once. Otherwise MEMORY_UNAVAILABLE,
// without a message, and no statistics count it.
MEMORY_EXPORT int32_t pinned_memory_try_alloc(struct memory_location *location, double byte_size);
MEMORY_EXPORT int32_t pinned_memory_free(double address);
MEMORY_EXPORT int32_t pinned_memory_stats(struct memory_pool_stats *stats);
// How many non-pinned fallbacks live, which no pool's statistics tell.
MEMORY_EXPORT double pinned_memory_nonpinned_count(void);
MEMORY_EXPORT int32_t pinned_memory_reset(void);

// ---- Allocated memory: CUDA memory, then pinned, then non-pinned system memory

// As pinned_memory_alloc().
MEMORY_EXPORT int32_t allocated_memory_alloc(struct memory_location *location, double byte_size,
                                             double memory_type, double device_id);
// The same for use on a stream (or null), and with a choice: where only blocks are in the way that
// streams still use, a request waits for them if it may, and falls back if not. CUDA memory may be
// what the stream's earlier work still uses; host memory never is.
MEMORY_EXPORT int32_t allocated_memory_alloc_with(struct memory_location *location,
                                                  double byte_size, double memory_type,
                                                  double device_id,
                                                  const struct memory_stream *stream,
                                                  int32_t may_wait);
// Memory whose manager was reset is gone already, and freeing it does nothing.
MEMORY_EXPORT int32_t allocated_memory_free(double address, double memory_type, double device_id,
                                            double generation);
// The memory goes back when the stream has done what it was given before. Where this fails the
// memory lives on.
MEMORY_EXPORT int32_t allocated_memory_free_after(const struct memory_location *location,
                                                  const struct memory_stream *stream);
// MEMORY_UNAVAILABLE where the memory went when its manager was reset.
MEMORY_EXPORT int32_t allocated_memory_check(const struct memory_location *location);
// Without a stream (null) the bytes of these three are in place when they return. With one, a copy
// that a GPU takes part in is only queued on it; then the return is 1. One between host memories is
// made at once in any case. Ordinary memory CUDA has read, or written to, before it returns, which may
// be only when the stream has done all that it was given before. The caller has checked that the
// ranges lie inside the allocations, and that those of a copy do not overlap.
MEMORY_EXPORT int32_t allocated_memory_write(const struct memory_location *target,
                                             double target_offset, const void *source,
                                             double byte_size, const struct memory_stream *stream);
MEMORY_EXPORT int32_t allocated_memory_read(const struct memory_location *source,
                                            double source_offset, void *target, double byte_size,
                                            const struct memory_stream *stream);
MEMORY_EXPORT int32_t allocated_memory_copy(const struct memory_location *target,
                                            double target_offset,
                                            const struct memory_location *source,
                                            double source_offset, double byte_size,
                                            const struct memory_stream *stream);
// Every byte is set when it returns.
MEMORY_EXPORT int32_t allocated_memory_fill(const struct memory_location *target, int32_t byte);

// ---- Streams

MEMORY_EXPORT int32_t cuda_stream_create(struct memory_stream *stream, double device_id);
// Work that is under way goes on. Where CUDA refuses, the stream is given back instead.
MEMORY_EXPORT int32_t cuda_stream_destroy(const struct memory_stream *stream);
// One that was given back, or else a new one; of all threads, until a manager is reset.
MEMORY_EXPORT int32_t cuda_stream_take(struct memory_stream *stream, double device_id);
MEMORY_EXPORT int32_t cuda_stream_give(const struct memory_stream *stream);
// MEMORY_OK where all work is done, 1 where it is not; an error of the work, once.
MEMORY_EXPORT int32_t cuda_stream_query(const struct memory_stream *stream);
MEMORY_EXPORT int32_t cuda_stream_synchronize(const struct memory_stream *stream);

// The point after all that the stream has been given so far, to be given back; or 0.
MEMORY_EXPORT double cuda_event_record(const struct memory_stream *stream);
// As cuda_stream_query(), of the work up to that point.
MEMORY_EXPORT int32_t cuda_event_query(double event);
MEMORY_EXPORT void cuda_event_give(double event);

// ---- Peer access

// Lets each of these GPUs use the others' memory directly, where the hardware can. Goes on after a
// failure; the message has a line for each.
MEMORY_EXPORT int32_t peer_access_enable(const double *device_ids, int32_t device_count);

#endif
