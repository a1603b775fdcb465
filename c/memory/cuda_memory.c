// The CUDA memory manager: one fixed pool on each device that was asked for.

#include "memory/cuda_memory.h"

#include <stdatomic.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "cuda/event.h"
#include "cuda/stream.h"
#include "memory/lifecycle_lock.h"
#include "memory/pool_stats.h"
#include "memory/refusal.h"
#include "memory/stream_ordered.h"
#include "message.h"
#include "whole_number.h"

// What CUDA guarantees of cudaMalloc. A pool needs an address that is a multiple of its granule.
enum { CUDA_MALLOC_ALIGNMENT = 256 };

_Static_assert(POOL_GRANULE_BYTE_SIZE == 2 * CUDA_MALLOC_ALIGNMENT,
               "a misaligned reservation is aligned by one step of CUDA's alignment");

static struct device_pool {
    struct pool pool;
    // Guarded by the lifecycle lock. Outlives the open pool only where CUDA refused to take it
    // back; the next create or reset tries again.
    void *reservation;
} device_pools[DEVICE_COUNT_MAX + 1]; // the last is never open, and serves all further ids

static atomic_bool is_created;

struct pool *cuda_memory_pool(double device_id)
{
    return &device_pools[(int)(device_id < DEVICE_COUNT_MAX ? device_id : DEVICE_COUNT_MAX)].pool;
}

// ---- Creating and resetting, under the exclusive lifecycle lock

static enum memory_status reserve(struct device_pool *device_pool, uint64_t byte_size, int device)
{
    enum memory_status status = cudart_check(
        cudart.cudaMalloc(&device_pool->reservation, byte_size), "cudaMalloc",
        "reserve %.0f bytes for the CUDA memory pool of GPU %d", (double)byte_size, device);
    if (status != MEMORY_OK) device_pool->reservation = NULL;
    return status;
}

static enum memory_status give_back(struct device_pool *device_pool, int device)
{
    enum memory_status status = cudart_check(cudart.cudaFree(device_pool->reservation), "cudaFree",
                                             "give back the CUDA memory pool of GPU %d", device);
    if (status == MEMORY_OK) device_pool->reservation = NULL;
    return status;
}

static bool is_aligned(const void *pointer)
{
    return (uintptr_t)pointer % POOL_GRANULE_BYTE_SIZE == 0;
}

static enum memory_status reserve_aligned(struct device_pool *device_pool, uint64_t byte_size,
                                          int device)
{
    enum memory_status status = reserve(device_pool, byte_size, device);
    if (status != MEMORY_OK || is_aligned(device_pool->reservation)) return status;
    // A small reservation may lie between two granules. A larger one has room to align inside.
    status = give_back(device_pool, device);
    if (status != MEMORY_OK) return status;
    return reserve(device_pool, byte_size + POOL_GRANULE_BYTE_SIZE - CUDA_MALLOC_ALIGNMENT, device);
}

// Opens the pool of the current device.
static enum memory_status open_device_pool(int device, double byte_size)
{
    struct device_pool *device_pool = &device_pools[device];
    uint64_t granule_count = (whole_number(byte_size) - 1) / POOL_GRANULE_BYTE_SIZE + 1;
    uint64_t capacity = granule_count * POOL_GRANULE_BYTE_SIZE;
    enum memory_status status = reserve_aligned(device_pool, capacity, device);
    if (status != MEMORY_OK) return status;
    uint64_t padding = is_aligned(device_pool->reservation) ? 0 : CUDA_MALLOC_ALIGNMENT;
    if (pool_open(&device_pool->pool, (uintptr_t)device_pool->reservation + padding, capacity) !=
        POOL_OK) {
        message_add("failed to create the CUDA memory pool of GPU %d: no memory for the tables of "
                    "a pool of %.0f bytes",
                    device, (double)capacity);
        return MEMORY_INTERNAL;
    }
    return MEMORY_OK;
}

static enum memory_status open_device_pools(const double *device_ids, const double *byte_sizes,
                                            int32_t pool_count)
{
    for (int32_t i = 0; i < pool_count; i++) {
        int device = (int)device_ids[i];
        enum memory_status status = cudart_set_device(device);
        if (status == MEMORY_OK) status = open_device_pool(device, byte_sizes[i]);
        if (status != MEMORY_OK) return status;
    }
    return MEMORY_OK;
}

static void close_device_pools(void)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        stream_ordered_drop(&device_pools[device].pool);
        pool_close(&device_pools[device].pool);
    }
}

// Gives all reservations back, after the pools were closed. Goes on after a failure.
static enum memory_status give_all_back(void)
{
    enum memory_status status = MEMORY_OK;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        struct device_pool *device_pool = &device_pools[device];
        if (device_pool->reservation == NULL) continue;
        enum memory_status device_status = cudart_set_device(device);
        if (device_status == MEMORY_OK) device_status = give_back(device_pool, device);
        if (device_status != MEMORY_OK) status = device_status;
    }
    return status;
}

static bool has_reservation(void)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (device_pools[device].reservation != NULL) return true;
    }
    return false;
}

static enum memory_status create_pools(const double *device_ids, const double *byte_sizes,
                                       int32_t pool_count)
{
    int saved_device;
    enum memory_status status = cudart_get_device(&saved_device);
    if (status != MEMORY_OK) return status;
    status = give_all_back(); // what an earlier reset could not give back
    if (status == MEMORY_OK) status = open_device_pools(device_ids, byte_sizes, pool_count);
    enum memory_status restored = cudart_set_device(saved_device);
    if (status == MEMORY_OK) status = restored;
    if (status != MEMORY_OK) {
        close_device_pools();
        give_all_back();
        cudart_set_device(saved_device);
    }
    return status;
}

static enum memory_status create(const double *device_ids, const double *byte_sizes,
                                 int32_t pool_count)
{
    if (is_created) {
        return message_set(MEMORY_ALREADY_EXISTS,
                           "the CUDA memory manager has been created already; it stays as it is");
    }
    if (pool_count > 0 && !cudart_is_bound()) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to create CUDA memory pools: there is no CUDA runtime");
    }
    enum memory_status status = MEMORY_OK;
    if (pool_count > 0) status = create_pools(device_ids, byte_sizes, pool_count);
    if (status == MEMORY_OK) is_created = true;
    return status;
}

enum memory_status cuda_memory_create(const double *device_ids, const double *byte_sizes,
                                      int32_t pool_count)
{
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = create(device_ids, byte_sizes, pool_count);
    lifecycle_unlock();
    return status;
}

static enum memory_status give_reservations_back(void)
{
    if (!has_reservation()) return MEMORY_OK;
    int saved_device;
    enum memory_status status = cudart_get_device(&saved_device);
    if (status != MEMORY_OK) return status;
    status = give_all_back();
    enum memory_status restored = cudart_set_device(saved_device);
    return status != MEMORY_OK ? status : restored;
}

static enum memory_status reset(void)
{
    is_created = false;
    enum memory_status waited = stream_synchronize_all();
    if (waited == MEMORY_OK) stream_ordered_reclaim_errors();
    close_device_pools();
    enum memory_status events_destroyed = event_destroy_released();
    enum memory_status streams_destroyed = stream_destroy_released();
    enum memory_status status = give_reservations_back();
    if (status == MEMORY_OK) status = events_destroyed;
    if (status == MEMORY_OK) status = streams_destroyed;
    return status == MEMORY_OK ? waited : status;
}

enum memory_status cuda_memory_reset(void)
{
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = reset();
    lifecycle_unlock();
    return status;
}

// ---- Requests

const char *cuda_memory_why_closed(void)
{
    return is_created ? "this GPU has no memory pool"
                      : "the CUDA memory manager has not been created";
}

// Tries again what the pool has refused, after taking back what streams have done with.
static __attribute__((cold, noinline)) double alloc_after_refusal(double byte_size,
                                                                  double device_id)
{
    struct pool_block block;
    struct refusal refusal = {.why_closed = cuda_memory_why_closed()};
    refusal.status = stream_ordered_alloc(cuda_memory_pool(device_id), whole_number(byte_size), 0,
                                          NULL, &block, &refusal.full);
    if (refusal.status == POOL_OK) return from_whole_number(block.address);
    const struct refused_request request = {
        .byte_size = byte_size, .device_id = device_id, .cuda = &refusal};
    return refusal_report_failure(&request);
}

// This and cuda_memory_free() are stream_ordered_alloc_now() and stream_ordered_free_now(), with
// all that follows a refusal kept out of the way: each is all that a fast call needs.
double cuda_memory_alloc(double byte_size, double device_id)
{
    struct pool_block block;
    enum pool_status status =
        pool_alloc(cuda_memory_pool(device_id), whole_number(byte_size), 0, &block, NULL);
    if (__builtin_expect(status != POOL_OK, 0)) return alloc_after_refusal(byte_size, device_id);
    return from_whole_number(block.address);
}

// Frees a block that is reused, or says why the pool has refused to free it.
static __attribute__((cold, noinline)) enum memory_status
free_after_refusal(double address, double device_id, enum pool_status status)
{
    struct pool *pool = cuda_memory_pool(device_id);
    if (status == POOL_TAGGED)
        status = stream_ordered_free_tagged(pool, whole_number(address), 0, POOL_ANY_OWNER);
    if (status == POOL_OK) return MEMORY_OK;
    if (status == POOL_CLOSED) {
        return message_set(MEMORY_UNAVAILABLE, "failed to free 0x%llx on GPU %.0f: %s",
                           (unsigned long long)address, device_id, cuda_memory_why_closed());
    }
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx on GPU %.0f: no live allocation of this GPU's pool "
                       "starts there (%s)",
                       (unsigned long long)address, device_id,
                       pool_contains(pool, whole_number(address))
                           ? "it was freed already, or lies inside a block"
                           : "it lies outside the pool");
}

enum memory_status cuda_memory_free(double address, double device_id)
{
    enum pool_status status =
        pool_free(cuda_memory_pool(device_id), whole_number(address), 0, POOL_ANY_OWNER);
    if (__builtin_expect(status != POOL_OK, 0)) {
        return free_after_refusal(address, device_id, status);
    }
    return MEMORY_OK;
}

enum memory_status cuda_memory_stats(double device_id, struct memory_pool_stats *stats)
{
    stream_ordered_reclaim();
    struct pool_stats exact;
    if (pool_read_stats(cuda_memory_pool(device_id), &exact) != POOL_OK) {
        return message_set(MEMORY_UNAVAILABLE, "failed to read the statistics of GPU %.0f: %s",
                           device_id, cuda_memory_why_closed());
    }
    *stats = memory_pool_stats_of(&exact);
    return MEMORY_OK;
}
