// The CUDA memory manager: one fixed pool on each device that was asked for.

#include "memory/cuda_memory.h"

#include <stdatomic.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "cuda/device_memory.h"
#include "cuda/event.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "memory/ended_owners.h"
#include "memory/lifecycle_lock.h"
#include "memory/pools.h"
#include "memory/refusal.h"
#include "memory/region.h"
#include "memory/stream_ordered.h"
#include "memory/waiting.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

static atomic_bool is_created;
static struct cuda_memory_settings settings; // guarded by the lifecycle lock

// ---- Creating and resetting, under the exclusive lifecycle lock

static void close_pools(void)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        struct reserved_pool *reserved_pool = gpu_pool(device);
        stream_ordered_drop(&reserved_pool->pool);
        reserved_pool_close(reserved_pool);
    }
}

// Makes bytes of a size, which below 0 is a share of the GPU's memory in percent.
static enum memory_status resolve_share(int device, double *byte_size)
{
    if (*byte_size >= 0) return MEMORY_OK;
    double percentage = -*byte_size;
    struct device_memory memory;
    enum memory_status status = device_memory_read(device, &memory);
    if (status != MEMORY_OK) {
        message_add("so %.10g%% of it for the CUDA memory pool cannot be reserved", percentage);
        return status;
    }
    uint64_t granule_count =
        whole_number(memory.total_byte_size * percentage / 100) / POOL_GRANULE_BYTE_SIZE;
    if (granule_count == 0) granule_count = 1;
    *byte_size = from_whole_number(granule_count * POOL_GRANULE_BYTE_SIZE);
    if (*byte_size <= memory.free_byte_size) return MEMORY_OK;
    message_add(
        "failed to reserve %.10g%% of the memory of GPU %d for its CUDA memory pool: that is "
        "%.0f of %.0f bytes, and only %.0f bytes are free",
        percentage, device, *byte_size, memory.total_byte_size, memory.free_byte_size);
    return MEMORY_OUT_OF_MEMORY;
}

static enum memory_status create_pool(int device, double byte_size)
{
    enum memory_status status = resolve_share(device, &byte_size);
    if (status != MEMORY_OK) return status;
    return reserved_pool_open(gpu_pool(device), MEMORY_GPU, device, byte_size);
}

static enum memory_status create_pools(const double *device_ids, const double *byte_sizes,
                                       int32_t pool_count)
{
    bool goes_on = settings.goes_on != 0;
    enum memory_status status = MEMORY_OK;
    for (int32_t i = 0; i < pool_count; i++) {
        enum memory_status opened = create_pool((int)device_ids[i], byte_sizes[i]);
        if (opened == MEMORY_OK) continue;
        status = opened;
        if (!goes_on) break;
    }
    if (status == MEMORY_OK) return MEMORY_OK;
    // What was reserved for a pool that could not be made goes back; its failure is in the message.
    if (!goes_on) close_pools();
    (void)region_give_back_closed(MEMORY_GPU);
    return goes_on && status != MEMORY_DEVICE_LOST ? MEMORY_OK_WITH_WARNINGS : status;
}

static enum memory_status create(const double *device_ids, const double *byte_sizes,
                                 int32_t pool_count, const struct cuda_memory_settings *wanted)
{
    if (is_created) {
        return message_set(MEMORY_ALREADY_EXISTS,
                           "the CUDA memory manager has been created already; it stays as it is");
    }
    if (cuda_is_lost()) return cuda_refuse_as_lost("create CUDA memory pools");
    if (pool_count > 0 && !cudart_is_bound()) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to create CUDA memory pools: there is no CUDA runtime");
    }
    settings = wanted == NULL ? (struct cuda_memory_settings){0} : *wanted;
    // What an earlier reset could not give back.
    enum memory_status status = region_give_back_closed(MEMORY_GPU);
    if (status == MEMORY_OK) status = create_pools(device_ids, byte_sizes, pool_count);
    if (status >= MEMORY_OK) is_created = true;
    return status;
}

enum memory_status cuda_memory_create(const double *device_ids, const double *byte_sizes,
                                      int32_t pool_count, const struct cuda_memory_settings *wanted)
{
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = create(device_ids, byte_sizes, pool_count, wanted);
    lifecycle_unlock();
    return status;
}

static enum memory_status not_created(const char *doing)
{
    return message_set(MEMORY_UNAVAILABLE,
                       "failed to %s: the CUDA memory manager has not been created", doing);
}

enum memory_status cuda_memory_read_settings(struct cuda_memory_settings *copy)
{
    lifecycle_lock_shared();
    *copy = settings;
    enum memory_status status =
        is_created ? MEMORY_OK : not_created("read the settings of CUDA memory pools");
    lifecycle_unlock();
    return status;
}

static enum memory_status resize(double device_id, double byte_size)
{
    if (cuda_is_lost()) return cuda_refuse_as_lost("resize a CUDA memory pool");
    if (!is_created) return not_created("resize a CUDA memory pool");
    if (!cudart_is_bound() || device_id >= DEVICE_COUNT_MAX) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to resize a CUDA memory pool: there is no "
                           "GPU %.0f that can have one",
                           device_id);
    }
    // What could not be given back earlier takes room. A failure is the next reset's to tell.
    (void)region_give_back_closed(MEMORY_GPU);
    message_clear();
    return reserved_pool_resize(gpu_pool(device_id), (int)device_id, byte_size);
}

enum memory_status cuda_memory_resize(double device_id, double byte_size)
{
    // What nobody uses any more is not to keep the pool from being given back.
    ended_owners_clean_up_and_wait();
    stream_ordered_reclaim();
    lifecycle_lock_exclusive();
    message_clear();
    enum memory_status status = resize(device_id, byte_size);
    lifecycle_unlock();
    // Who waits may have room now, or never again.
    enum memory_status served = waiting_after_free(status);
    return status == MEMORY_OK ? served : status;
}

static enum memory_status reset(void)
{
    enum memory_status waited = stream_synchronize_all();
    if (waited == MEMORY_UNSUPPORTED) return waited; // a capture would become invalid
    is_created = false;
    if (waited == MEMORY_OK) stream_ordered_reclaim_errors();
    close_pools();
    enum memory_status events_destroyed = event_destroy_released();
    enum memory_status streams_destroyed = stream_destroy_released();
    enum memory_status status = region_give_back_closed(MEMORY_GPU);
    if (status == MEMORY_OK) status = events_destroyed;
    if (status == MEMORY_OK) status = streams_destroyed;
    if (status == MEMORY_OK) status = waited;
    return cuda_is_lost() ? MEMORY_OK : status; // nothing is left to give back
}

enum memory_status cuda_memory_reset(void)
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

const char *cuda_memory_why_closed(void)
{
    if (cuda_is_lost()) return cuda_lost_reason();
    return is_created ? "this GPU has no memory pool"
                      : "the CUDA memory manager has not been created";
}

// Tries again what the pool has refused, after taking back what streams have done with, and what threads
// have left behind that ended.
static __attribute__((cold, noinline)) double alloc_after_refusal(double byte_size,
                                                                  double device_id)
{
    struct pool_block block;
    struct refusal refusal = {.why_closed = cuda_memory_why_closed()};
    ended_owners_clean_up();
    static const struct pool_client process = {.owner = OWNER_PROCESS};
    refusal.status = stream_ordered_alloc(&gpu_pool(device_id)->pool, whole_number(byte_size),
                                          &process, NULL, &block, &refusal.full);
    if (refusal.status == POOL_OK) return from_whole_number(block.address);
    const struct refused_request request = {
        .byte_size = byte_size, .device_id = device_id, .cuda = &refusal};
    return refusal_report_failure(&request);
}

// This and cuda_memory_free() are stream_ordered_alloc() and stream_ordered_free_now(), with all
// that follows a refusal kept out of the way: each is all that a fast call needs.
double cuda_memory_alloc(double byte_size, double device_id)
{
    struct pool_block block;
    enum pool_status status = pool_alloc(&gpu_pool(device_id)->pool, whole_number(byte_size),
                                         OWNER_PROCESS, &block, NULL);
    if (__builtin_expect(status != POOL_OK, 0)) return alloc_after_refusal(byte_size, device_id);
    return from_whole_number(block.address);
}

// Frees a block that is reused, or says why the pool has refused to free it.
static __attribute__((cold, noinline)) enum memory_status
free_after_refusal(double address, double device_id, enum pool_status status)
{
    struct pool *pool = &gpu_pool(device_id)->pool;
    if (status == POOL_TAGGED)
        status = stream_ordered_free_tagged(pool, whole_number(address), 0, POOL_ANY_OWNER);
    if (status == POOL_OK) return waiting_after_free(MEMORY_OK);
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
        pool_free(&gpu_pool(device_id)->pool, whole_number(address), 0, POOL_ANY_OWNER);
    if (__builtin_expect(status != POOL_OK, 0)) {
        return free_after_refusal(address, device_id, status);
    }
    return waiting_after_free(MEMORY_OK);
}
