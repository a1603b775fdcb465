#include "memory/statistics.h"

#include <math.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "memory/cuda_memory.h"
#include "memory/ended_owners.h"
#include "memory/handover.h"
#include "memory/hold.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "memory/pinned_memory.h"
#include "memory/place.h"
#include "memory/pools.h"
#include "memory/region.h"
#include "memory/stream_ordered.h"
#include "memory/waiting.h"
#include "message.h"
#include "pool/pool.h"

// Who waits for what goes back gets it, and is told when his thread looks.
static void reclaim(enum memory_type memory_type)
{
    ended_owners_clean_up();
    stream_ordered_reclaim();
    (void)waiting_after_free(MEMORY_OK);
    if (region_closed_count() == 0) return;
    lifecycle_lock_exclusive();
    (void)region_give_back_closed(memory_type); // the next look tries again
    lifecycle_unlock();
}

void bring_statistics_up_to_date(void)
{
    reclaim(MEMORY_GPU);
    reclaim(MEMORY_CPU_PINNED);
}

static void fill(struct memory_pool_stats *stats, const struct pool_stats *exact)
{
    *stats = (struct memory_pool_stats){
        .capacity_byte_size = (double)exact->capacity_byte_size,
        .used_byte_size = (double)exact->used_byte_size,
        .peak_used_byte_size = (double)exact->peak_used_byte_size,
        .free_byte_size = (double)exact->free_byte_size,
        .largest_free_byte_size = (double)exact->largest_free_byte_size,
        .allocation_count = (double)exact->allocation_count,
        .failed_allocation_count = (double)exact->failed_allocation_count,
    };
}

enum memory_status cuda_memory_stats(double device_id, struct memory_pool_stats *stats)
{
    reclaim(MEMORY_GPU);
    struct pool_stats exact;
    if (pool_read_stats(&gpu_pool(device_id)->pool, &exact) != POOL_OK) {
        return message_set(MEMORY_UNAVAILABLE, "failed to read the statistics of GPU %.0f: %s",
                           device_id, cuda_memory_why_closed());
    }
    fill(stats, &exact);
    stats->set_aside_byte_size = (double)region_set_aside_byte_size(MEMORY_GPU, (int)device_id);
    stats->detached_byte_size = (double)handover_byte_size(MEMORY_GPU, (int)device_id);
    stats->waiting_count = waiting_count(place_of(MEMORY_GPU, device_id));
    return MEMORY_OK;
}

enum memory_status pinned_memory_stats(struct memory_pool_stats *stats)
{
    if (!pinned_memory_is_created()) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to read the statistics of the pinned memory "
                           "pool: the pinned memory manager has not been created");
    }
    reclaim(MEMORY_CPU_PINNED);
    struct pool_stats exact = {0}; // as they are without a pool
    (void)pool_read_stats(&pinned_pool()->pool, &exact);
    fill(stats, &exact);
    stats->set_aside_byte_size =
        (double)(region_set_aside_byte_size(MEMORY_CPU_PINNED, 0) + hold_nonpinned_byte_size());
    stats->detached_byte_size =
        (double)(handover_byte_size(MEMORY_CPU_PINNED, 0) + handover_byte_size(MEMORY_CPU, 0));
    stats->nonpinned_byte_size = (double)nonpinned_memory_byte_size();
    stats->waiting_count = waiting_count(MEMORY_CPU_PINNED);
    return MEMORY_OK;
}
