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

static int32_t give_reservation_back(void)
{
    if (reservation == NULL) return MEMORY_OK;
    int32_t status = cudart_check(cudart.cudaFreeHost(reservation), "cudaFreeHost",
                                  "give back the pinned memory pool");
    if (status == MEMORY_OK) reservation = NULL;
    return status;
}

static int32_t open_pool(uint64_t capacity)
{
    int32_t status = give_reservation_back(); // what an earlier reset could not
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

static int32_t create(double byte_size)
{
    if (is_created) {
        return message_set(MEMORY_ALREADY_EXISTS,
                           "the pinned memory manager has been created already; it stays as it is");
    }
    is_created = true;
    if (byte_size == 0) return MEMORY_OK;
    if (!cudart_is_bound()) {
        return message_set(MEMORY_UNAVAILABLE,
                           "no pinned memory pool of %.0f bytes: there is no CUDA runtime",
                           byte_size);
    }
    uint64_t granule_count = (whole_number(byte_size) - 1) / POOL_GRANULE_BYTE_SIZE + 1;
    return open_pool(granule_count * POOL_GRANULE_BYTE_SIZE);
}

int32_t pinned_memory_create(double byte_size)
{
    lifecycle_lock_exclusive();
    message_clear();
    int32_t status = create(byte_size);
    lifecycle_unlock();
    return status;
}

static int32_t reset(void)
{
    is_created = false;
    int32_t waited = cuda_stream_wait_for_all();
    deferred_free_drop(&pool);
    deferred_free_drop(NULL);
    pool_close(&pool);
    nonpinned_memory_reset();
    int32_t events_destroyed = cuda_event_destroy_idle();
    int32_t streams_destroyed = cuda_stream_destroy_idle();
    int32_t status = give_reservation_back();
    if (status == MEMORY_OK) status = events_destroyed;
    if (status == MEMORY_OK) status = streams_destroyed;
    return status == MEMORY_OK ? waited : status;
}

int32_t pinned_memory_reset(void)
{
    lifecycle_lock_exclusive();
    message_clear();
    int32_t status = reset();
    lifecycle_unlock();
    return status;
}

// ---- Requests

static bool take_nonpinned(struct memory_location *location, double byte_size)
{
    struct pool_block block;
    void *pointer = nonpinned_memory_alloc(whole_number(byte_size), &block.generation);
    if (pointer == NULL) return false;
    block.address = (uintptr_t)pointer;
    *location = memory_location_of(block, byte_size, MEMORY_CPU, 0);
    return true;
}

bool pinned_memory_take(struct memory_location *location, double byte_size,
                        bool allow_nonpinned_fallback, bool may_wait, struct refusal *pinned)
{
    struct pool_block block;
    uint64_t size = whole_number(byte_size);
    const struct deferred_request without_waiting = {.stream = NULL, .may_wait = false};
    pinned->status =
        may_wait ? deferred_free_pool_alloc(&pool, size, &block, &pinned->full)
                 : deferred_free_alloc(&pool, size, &without_waiting, &block, &pinned->full);
    if (__builtin_expect(pinned->status != POOL_OK, 0)) {
        return allow_nonpinned_fallback && take_nonpinned(location, byte_size);
    }
    *location = memory_location_of(block, byte_size, MEMORY_CPU_PINNED, 0);
    return true;
}

int32_t pinned_memory_alloc(struct memory_location *location, double byte_size,
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
        pinned_memory_take(location, byte_size, allow_nonpinned_fallback, true, &pinned);
    if (__builtin_expect(pinned.status == POOL_OK, 1)) return MEMORY_OK;
    const struct fallback fallback = {
        .byte_size = byte_size, .pinned = &pinned, .has_tried_nonpinned = allow_nonpinned_fallback};
    return is_served ? fallback_report_success(&fallback) : fallback_report_failure(&fallback);
}

static int32_t not_allocated(double address)
{
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx: no live allocation of system memory starts there "
                       "(it was freed already, lies inside a block, or was never allocated here)",
                       (unsigned long long)address);
}

int32_t pinned_memory_try_alloc(struct memory_location *location, double byte_size)
{
    struct pool_block block;
    uint64_t size = whole_number(byte_size);
    if (pool_alloc(&pool, size, &block, NULL) != POOL_OK) {
        deferred_free_reclaim();
        if (pool_alloc(&pool, size, &block, NULL) != POOL_OK) return MEMORY_UNAVAILABLE;
    }
    *location = memory_location_of(block, byte_size, MEMORY_CPU_PINNED, 0);
    return MEMORY_OK;
}

int32_t pinned_memory_give(double address, int32_t memory_type, double generation)
{
    if (memory_type == MEMORY_CPU_PINNED) {
        enum pool_status status =
            deferred_free_pool_free(&pool, whole_number(address), whole_number(generation));
        if (status == POOL_OK || status == POOL_CLOSED) return MEMORY_OK;
    } else if (nonpinned_memory_free((void *)(uintptr_t)address, whole_number(generation))) {
        return MEMORY_OK;
    }
    return not_allocated(address);
}

int32_t pinned_memory_give_after(const struct memory_location *location,
                                 const struct memory_stream *stream)
{
    struct pool *its_pool = location->memory_type == MEMORY_CPU_PINNED ? &pool : NULL;
    int32_t status = deferred_free_block(its_pool, whole_number(location->address),
                                         whole_number(location->generation), stream);
    return status == MEMORY_INVALID_ARG ? not_allocated(location->address) : status;
}

int32_t pinned_memory_free(double address)
{
    if (!is_created) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to free 0x%llx: the pinned memory manager has not been created",
                           (unsigned long long)address);
    }
    int32_t memory_type =
        pool_contains(&pool, whole_number(address)) ? MEMORY_CPU_PINNED : MEMORY_CPU;
    return pinned_memory_give(address, memory_type, 0);
}

bool pinned_memory_is_current(int32_t memory_type, double generation)
{
    uint64_t current =
        memory_type == MEMORY_CPU_PINNED ? pool_generation(&pool) : nonpinned_memory_generation();
    return current == whole_number(generation);
}

int32_t pinned_memory_stats(struct memory_pool_stats *stats)
{
    if (!is_created) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to read the statistics of the pinned memory "
                           "pool: the pinned memory manager has not been created");
    }
    deferred_free_reclaim();
    struct pool_stats exact = {0}; // of a pool that does not exist
    (void)pool_read_stats(&pool, &exact);
    *stats = memory_pool_stats_of(&exact);
    return MEMORY_OK;
}

double pinned_memory_nonpinned_count(void)
{
    return (double)nonpinned_memory_count();
}
