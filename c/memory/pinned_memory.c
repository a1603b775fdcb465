// The pinned memory manager: one pool of page-locked host memory, and, behind it, memory of the
// system heap for the callers that accept it.

#include "memory/pinned_memory.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/event.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "memory/allocation.h"
#include "memory/collected_memory.h"
#include "memory/ended_owners.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_limit.h"
#include "memory/nonpinned_memory.h"
#include "memory/pools.h"
#include "memory/region.h"
#include "memory/stream_ordered.h"
#include "memory/waiting.h"
#include "message.h"
#include "owner.h"
#include "pool/pool.h"
#include "whole_number.h"

static atomic_bool is_created;

// Changes whenever host memory is reset.
static _Atomic uint32_t reset_count;

double host_memory_reset_count_address(void)
{
    return (double)(uintptr_t)&reset_count;
}

bool pinned_memory_is_created(void)
{
    return is_created;
}

// ---- Creating and resetting, under the exclusive lifecycle lock

static enum memory_status create(double byte_size, double device_id,
                                 double nonpinned_limit_byte_size)
{
    if (is_created) {
        return message_set(MEMORY_ALREADY_EXISTS,
                           "the pinned memory manager has been created already; it stays as it is");
    }
    is_created = true;
    nonpinned_limit_set(nonpinned_limit_byte_size);
    if (byte_size == 0) return MEMORY_OK;
    if (cuda_is_lost()) {
        (void)cuda_refuse_as_lost("create the pinned memory pool");
        return MEMORY_OK_WITH_WARNINGS;
    }
    if (!cudart_is_bound()) {
        return message_set(MEMORY_OK_WITH_WARNINGS,
                           "no pinned memory pool of %.0f bytes: there is no CUDA runtime",
                           byte_size);
    }
    // What an earlier reset could not give back.
    if (region_give_back_closed(MEMORY_CPU_PINNED) != MEMORY_OK) return MEMORY_OK_WITH_WARNINGS;
    int device = lowest_gpu_with_pool();
    if (device < 0) device = (int)device_id;
    if (reserved_pool_open(pinned_pool(), MEMORY_CPU_PINNED, device, byte_size) == MEMORY_OK) {
        return MEMORY_OK;
    }
    (void)region_give_back_closed(MEMORY_CPU_PINNED); // if there are no tables for the pool
    return MEMORY_OK_WITH_WARNINGS;
}

enum memory_status pinned_memory_create(double byte_size, double device_id,
                                        double nonpinned_limit_byte_size)
{
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = create(byte_size, device_id, nonpinned_limit_byte_size);
    lifecycle_unlock();
    return status;
}

static enum memory_status reset(void)
{
    enum memory_status waited = stream_synchronize_all();
    if (waited == MEMORY_UNSUPPORTED) return waited; // a capture would become invalid
    is_created = false;
    if (waited == MEMORY_OK) stream_ordered_reclaim_errors();
    stream_ordered_drop(&pinned_pool()->pool);
    stream_ordered_drop(NULL);
    reserved_pool_close(pinned_pool());
    nonpinned_memory_reset();
    nonpinned_limit_set(INFINITY);
    atomic_fetch_add_explicit(&reset_count, 1, memory_order_release);
    enum memory_status events_destroyed = event_destroy_released();
    enum memory_status streams_destroyed = stream_destroy_released();
    enum memory_status status = region_give_back_closed(MEMORY_CPU_PINNED);
    if (status == MEMORY_OK) status = events_destroyed;
    if (status == MEMORY_OK) status = streams_destroyed;
    if (status == MEMORY_OK) status = waited;
    return cuda_is_lost() ? MEMORY_OK : status; // nothing is left to give back
}

enum memory_status pinned_memory_reset(void)
{
    ended_owners_clean_up_and_wait(); // so that their streams and events go back too
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = reset();
    lifecycle_unlock();
    (void)waiting_after_free(MEMORY_OK); // they are refused
    return status;
}

// ---- Requests

enum pool_status nonpinned_memory_alloc_for(struct memory_allocation *allocation, double byte_size,
                                            const struct pool_client *client)
{
    struct pool_block block;
    enum pool_status status = nonpinned_memory_alloc(whole_number(byte_size), client, &block);
    if (status == POOL_FULL || status == POOL_OVER_LIMIT) {
        stream_ordered_reclaim(); // what streams have done with may be what is missing
        status = nonpinned_memory_alloc(whole_number(byte_size), client, &block);
    }
    if (status == POOL_OK) {
        allocation_fill(allocation, block, byte_size, MEMORY_CPU, client->owner);
    }
    return status;
}

// As pool_alloc_for(), after taking back what streams have done with, and what threads have left behind
// that ended.
static inline enum pool_status alloc_pinned(uint64_t byte_size, const struct pool_client *client,
                                            struct pool_block *block, struct pool_stats *full)
{
    struct pool *pool = &pinned_pool()->pool;
    enum pool_status status = pool_alloc_for(pool, byte_size, client, block, NULL);
    if (__builtin_expect(status == POOL_OK, 1)) return status;
    ended_owners_clean_up();
    return stream_ordered_alloc(pool, byte_size, client, NULL, block, full);
}

bool pinned_memory_alloc_for(struct memory_allocation *allocation, double byte_size,
                             const struct pool_client *client, struct refusal *refusal)
{
    struct pool_block block;
    refusal->status = alloc_pinned(whole_number(byte_size), client, &block, &refusal->full);
    if (__builtin_expect(refusal->status != POOL_OK, 0)) {
        refusal->why_closed = "there is no pinned memory pool";
        return false;
    }
    allocation_fill(allocation, block, byte_size, MEMORY_CPU_PINNED, client->owner);
    return true;
}

// Serves what the pool has refused at once.
static __attribute__((cold, noinline)) enum memory_status
alloc_after_refusal(struct memory_allocation *allocation, double byte_size,
                    int32_t allow_nonpinned_fallback)
{
    static const struct pool_client process = {.owner = OWNER_PROCESS};
    struct refusal pinned;
    if (pinned_memory_alloc_for(allocation, byte_size, &process, &pinned)) return MEMORY_OK;
    bool is_served = false;
    if (allow_nonpinned_fallback) {
        if (collected_memory_may_help(owner_of_thread())) return MEMORY_COLLECT_FIRST;
        is_served = nonpinned_memory_alloc_for(allocation, byte_size, &process) == POOL_OK;
    }
    const struct refused_request request = {
        .byte_size = byte_size, .pinned = &pinned, .has_tried_nonpinned = allow_nonpinned_fallback};
    return is_served ? refusal_report_fallback(&request) : refusal_report_failure(&request);
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
    struct pool_block block;
    enum pool_status status =
        pool_alloc(&pinned_pool()->pool, whole_number(byte_size), OWNER_PROCESS, &block, NULL);
    if (__builtin_expect(status != POOL_OK, 0)) {
        return alloc_after_refusal(allocation, byte_size, allow_nonpinned_fallback);
    }
    allocation_fill(allocation, block, byte_size, MEMORY_CPU_PINNED, OWNER_PROCESS);
    return MEMORY_OK;
}

static enum memory_status not_allocated(double address)
{
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx: no live allocation of system memory starts there "
                       "(it was freed already, lies inside a block, or was never allocated here)",
                       (unsigned long long)address);
}

enum memory_status pinned_memory_try_alloc(struct memory_allocation *allocation, double byte_size)
{
    // What moves bytes goes on while others wait for room: they may wait for the end of that.
    const struct pool_client client = {.owner = (uint32_t)allocation->owner, .has_waited = true};
    struct pool_block block;
    uint64_t size = whole_number(byte_size);
    if (alloc_pinned(size, &client, &block, NULL) != POOL_OK) return MEMORY_UNAVAILABLE;
    allocation_fill(allocation, block, byte_size, MEMORY_CPU_PINNED, client.owner);
    return MEMORY_OK;
}

enum memory_status system_memory_free(double address, int32_t memory_type, uint64_t generation,
                                      uint32_t owner)
{
    enum pool_status status =
        memory_type == MEMORY_CPU_PINNED
            ? stream_ordered_free_now(&pinned_pool()->pool, whole_number(address), generation,
                                      owner)
            : nonpinned_memory_free((void *)(uintptr_t)address, generation, owner);
    if (status != POOL_OK && status != POOL_CLOSED) return not_allocated(address);
    return waiting_after_free(MEMORY_OK);
}

enum memory_status system_memory_free_on_streams(const struct memory_allocation *allocation,
                                                 const struct cuda_stream *streams,
                                                 uint32_t stream_count)
{
    struct pool *its_pool =
        memory_type_of_place(allocation->place) == MEMORY_CPU_PINNED ? &pinned_pool()->pool : NULL;
    enum memory_status status = stream_ordered_free(
        its_pool, whole_number(allocation->address), generation_of(allocation->origin),
        owner_of_origin(allocation->origin), streams, stream_count);
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
        pool_contains(&pinned_pool()->pool, whole_number(address)) ? MEMORY_CPU_PINNED : MEMORY_CPU;
    return system_memory_free(address, memory_type, 0, POOL_ANY_OWNER);
}

double pinned_memory_nonpinned_count(void)
{
    return (double)nonpinned_memory_count();
}
