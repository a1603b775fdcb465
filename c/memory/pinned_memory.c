// The pinned memory manager: one pool of page-locked host memory, and, behind it, memory of the
// system heap for the callers that accept it.

#include "memory/pinned_memory.h"

#include <stdatomic.h>
#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/event.h"
#include "cuda/stream.h"
#include "memory/allocation.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "memory/pool_stats.h"
#include "memory/stream_ordered.h"
#include "message.h"
#include "pool/pool.h"
#include "whole_number.h"

enum { CUDA_HOST_ALLOC_PORTABLE = 1 };

static struct pool pool;
// Guarded by the lifecycle lock. Outlives the open pool only where CUDA refused to take it back;
// the next create or reset tries again.
static void *reservation;

static atomic_bool is_created;

// ---- Creating and resetting, under the exclusive lifecycle lock

static enum memory_status give_reservation_back(void)
{
    if (reservation == NULL) return MEMORY_OK;
    enum memory_status status = cudart_check(cudart.cudaFreeHost(reservation), "cudaFreeHost",
                                             "give back the pinned memory pool");
    if (status == MEMORY_OK) reservation = NULL;
    return status;
}

static enum memory_status open_pool(uint64_t capacity)
{
    // An earlier reset may have failed to give its reservation back.
    enum memory_status status = give_reservation_back();
    if (status != MEMORY_OK) return status;
    status = cudart_check(cudart.cudaHostAlloc(&reservation, capacity, CUDA_HOST_ALLOC_PORTABLE),
                          "cudaHostAlloc", "reserve %.0f bytes for the pinned memory pool",
                          (double)capacity);
    if (status != MEMORY_OK) {
        reservation = NULL;
        return status;
    }
    enum pool_status opened = pool_open(&pool, (uintptr_t)reservation, capacity);
    if (opened == POOL_OK) return MEMORY_OK;
    message_add("failed to create the pinned memory pool: %s",
                opened == POOL_BAD_RANGE ? "cudaHostAlloc gave memory that is not aligned"
                                         : "no memory for its tables");
    give_reservation_back();
    return MEMORY_INTERNAL;
}

static enum memory_status create(double byte_size)
{
    if (is_created) {
        return message_set(MEMORY_ALREADY_EXISTS,
                           "the pinned memory manager has been created already; it stays as it is");
    }
    is_created = true;
    if (byte_size == 0) return MEMORY_OK;
    if (!cudart_is_bound()) {
        return message_set(MEMORY_OK_WITH_WARNINGS,
                           "no pinned memory pool of %.0f bytes: there is no CUDA runtime",
                           byte_size);
    }
    uint64_t granule_count = (whole_number(byte_size) - 1) / POOL_GRANULE_BYTE_SIZE + 1;
    bool is_open = open_pool(granule_count * POOL_GRANULE_BYTE_SIZE) == MEMORY_OK;
    return is_open ? MEMORY_OK : MEMORY_OK_WITH_WARNINGS;
}

enum memory_status pinned_memory_create(double byte_size)
{
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = create(byte_size);
    lifecycle_unlock();
    return status;
}

static enum memory_status reset(void)
{
    is_created = false;
    enum memory_status waited = stream_synchronize_all();
    if (waited == MEMORY_OK) stream_ordered_reclaim_errors();
    stream_ordered_drop(&pool);
    stream_ordered_drop(NULL);
    pool_close(&pool);
    nonpinned_memory_reset();
    enum memory_status events_destroyed = event_destroy_released();
    enum memory_status streams_destroyed = stream_destroy_released();
    enum memory_status status = give_reservation_back();
    if (status == MEMORY_OK) status = events_destroyed;
    if (status == MEMORY_OK) status = streams_destroyed;
    return status == MEMORY_OK ? waited : status;
}

enum memory_status pinned_memory_reset(void)
{
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = reset();
    lifecycle_unlock();
    return status;
}

// ---- Requests

static bool alloc_nonpinned(struct memory_allocation *allocation, double byte_size, uint32_t owner)
{
    struct pool_block block;
    void *pointer = nonpinned_memory_alloc(whole_number(byte_size), owner, &block.generation);
    if (pointer == NULL) return false;
    block.address = (uintptr_t)pointer;
    *allocation = memory_allocation_of(block, byte_size, MEMORY_CPU, 0);
    return true;
}

bool system_memory_alloc(struct memory_allocation *allocation, double byte_size, uint32_t owner,
                         bool allow_nonpinned_fallback, struct refusal *pinned)
{
    struct pool_block block;
    uint64_t size = whole_number(byte_size);
    pinned->status = stream_ordered_alloc_now(&pool, size, owner, &block, &pinned->full);
    if (__builtin_expect(pinned->status != POOL_OK, 0)) {
        pinned->why_closed = "there is no pinned memory pool";
        return allow_nonpinned_fallback && alloc_nonpinned(allocation, byte_size, owner);
    }
    *allocation = memory_allocation_of(block, byte_size, MEMORY_CPU_PINNED, 0);
    return true;
}

enum memory_status pinned_memory_alloc(struct memory_allocation *allocation, double byte_size,
                                       int32_t allow_nonpinned_fallback)
{
    if (!is_created) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to allocate %.0f bytes of pinned system memory: the pinned "
                           "memory manager has not been created",
                           byte_size);
    }
    struct refusal pinned;
    bool is_served =
        system_memory_alloc(allocation, byte_size, 0, allow_nonpinned_fallback, &pinned);
    if (__builtin_expect(pinned.status == POOL_OK, 1)) return MEMORY_OK;
    const struct refused_request request = {
        .byte_size = byte_size, .pinned = &pinned, .has_tried_nonpinned = allow_nonpinned_fallback};
    return is_served ? refusal_report_fallback(&request) : refusal_report_failure(&request);
}

static enum memory_status not_allocated(double address)
{
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx: no live allocation of system memory starts there "
                       "(it was freed already, lies inside a block, or was never allocated here)",
                       (unsigned long long)address);
}

enum memory_status pinned_memory_try_alloc(struct memory_allocation *allocation, double byte_size,
                                           int32_t owner)
{
    struct pool_block block;
    uint64_t size = whole_number(byte_size);
    if (stream_ordered_alloc_now(&pool, size, (uint32_t)owner, &block, NULL) != POOL_OK) {
        return MEMORY_UNAVAILABLE;
    }
    *allocation = memory_allocation_of(block, byte_size, MEMORY_CPU_PINNED, 0);
    return MEMORY_OK;
}

enum memory_status system_memory_free(double address, int32_t memory_type, double generation,
                                      uint32_t owner)
{
    if (memory_type == MEMORY_CPU_PINNED) {
        enum pool_status status =
            stream_ordered_free_now(&pool, whole_number(address), whole_number(generation), owner);
        if (status == POOL_OK || status == POOL_CLOSED) return MEMORY_OK;
    } else if (nonpinned_memory_free((void *)(uintptr_t)address, whole_number(generation), owner)) {
        return MEMORY_OK;
    }
    return not_allocated(address);
}

enum memory_status system_memory_free_on_stream(const struct memory_allocation *allocation,
                                                const struct cuda_stream *stream, uint32_t owner)
{
    struct pool *its_pool = allocation->memory_type == MEMORY_CPU_PINNED ? &pool : NULL;
    enum memory_status status =
        stream_ordered_free(its_pool, whole_number(allocation->address),
                            whole_number(allocation->generation), owner, stream);
    return status == MEMORY_INVALID_ARG ? not_allocated(allocation->address) : status;
}

enum memory_status pinned_memory_free(double address)
{
    if (!is_created) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to free 0x%llx: the pinned memory manager has not been created",
                           (unsigned long long)address);
    }
    int32_t memory_type =
        pool_contains(&pool, whole_number(address)) ? MEMORY_CPU_PINNED : MEMORY_CPU;
    return system_memory_free(address, memory_type, 0, POOL_ANY_OWNER);
}

bool system_memory_is_current(int32_t memory_type, double generation)
{
    uint64_t current =
        memory_type == MEMORY_CPU_PINNED ? pool_generation(&pool) : nonpinned_memory_generation();
    return current == whole_number(generation);
}

enum memory_status pinned_memory_stats(struct memory_pool_stats *stats)
{
    if (!is_created) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to read the statistics of the pinned memory "
                           "pool: the pinned memory manager has not been created");
    }
    stream_ordered_reclaim();
    struct pool_stats exact = {0}; // as they are without a pool
    (void)pool_read_stats(&pool, &exact);
    *stats = memory_pool_stats_of(&exact);
    return MEMORY_OK;
}

double pinned_memory_nonpinned_count(void)
{
    return (double)nonpinned_memory_count();
}
