#include "memory/account_figures.h"

#include <math.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "memory/allocation.h"
#include "memory/nonpinned_memory.h"
#include "memory/pools.h"
#include "memory/statistics.h"
#include "memory/waiting.h"
#include "pool/account.h"
#include "whole_number.h"

double account_limit(double key)
{
    uint32_t number = account_of_key(whole_number(key));
    bool is_unlimited = accounts[number].limit_granule_count == ACCOUNT_UNLIMITED;
    return is_unlimited ? INFINITY : accounts[number].limit_byte_size;
}

enum memory_status account_set_limit(double key, double byte_size)
{
    uint32_t number = account_of_key(whole_number(key));
    struct account *account = &accounts[number];
    account->limit_byte_size = byte_size;
    account->limit_granule_count =
        isinf(byte_size) ? ACCOUNT_UNLIMITED : whole_number(byte_size) / POOL_GRANULE_BYTE_SIZE;
    return waiting_after_free(MEMORY_OK);
}

static struct pool *pool_of(double place)
{
    struct reserved_pool *reserved_pool = reserved_pool_of(place);
    return reserved_pool == NULL ? NULL : &reserved_pool->pool;
}

static void read_usage(double place, uint64_t key, struct account_usage *usage)
{
    struct pool *pool = pool_of(place);
    if (pool == NULL) nonpinned_memory_read_account_usage(key, usage);
    else pool_read_account_usage(pool, key, usage);
}

static void add_usage(struct memory_account_stats *stats, double place, uint64_t key)
{
    struct account_usage usage;
    read_usage(place, key, &usage);
    stats->allocation_count += (double)usage.live_block_count;
    stats->cumulative_allocation_count += (double)usage.allocation_count;
    stats->cumulative_byte_size += (double)(usage.allocated_granule_count * POOL_GRANULE_BYTE_SIZE);
    stats->failed_allocation_count += (double)usage.failure_count;
    stats->fallback_count += (double)usage.fallback_count;
    stats->used_byte_size += (double)(usage.used_granule_count * POOL_GRANULE_BYTE_SIZE);
    stats->peak_used_byte_size += (double)(usage.peak_granule_count * POOL_GRANULE_BYTE_SIZE);
}

// All places that memory can have: of each GPU, of one that there is not, and of the host.
enum { PLACE_COUNT = DEVICE_COUNT_MAX + 3 };

static double place_at(int index)
{
    if (index <= DEVICE_COUNT_MAX) return place_of(MEMORY_GPU, index);
    return index == DEVICE_COUNT_MAX + 1 ? MEMORY_CPU_PINNED : MEMORY_CPU;
}

void account_read_stats(double key, double place, struct memory_account_stats *stats)
{
    uint64_t number_and_term = whole_number(key);
    const struct account *account = &accounts[account_of_key(number_and_term)];
    *stats = (struct memory_account_stats){0};
    bring_statistics_up_to_date();
    if (place >= 0) {
        add_usage(stats, place, number_and_term);
        return;
    }
    for (int i = 0; i < PLACE_COUNT; i++) add_usage(stats, place_at(i), number_and_term);
    // What it had at one moment is less than the sum of what it had of each at any.
    uint64_t used = account_granules_of(account->charged);
    stats->used_byte_size = (double)(used * POOL_GRANULE_BYTE_SIZE);
    stats->peak_used_byte_size = (double)(account->peak_granule_count * POOL_GRANULE_BYTE_SIZE);
}

void account_reset_peak(double key)
{
    uint64_t number_and_term = whole_number(key);
    struct account *account = &accounts[account_of_key(number_and_term)];
    account->peak_granule_count = account_granules_of(account->charged);
    for (int i = 0; i < PLACE_COUNT; i++) {
        struct pool *pool = pool_of(place_at(i));
        if (pool == NULL) nonpinned_memory_reset_account_peak(number_and_term);
        else pool_reset_account_peak(pool, number_and_term);
    }
}

void accounts_note_refusal(double place, uint64_t key, bool is_fallback)
{
    if (key == 0) return;
    struct pool *pool = pool_of(place);
    if (pool == NULL) nonpinned_memory_note_account_refusal(key, is_fallback);
    else pool_note_account_refusal(pool, key, is_fallback);
}

double allocated_memory_account(const struct memory_allocation *allocation)
{
    uint64_t address = whole_number(allocation->address);
    uint64_t generation = generation_of(allocation->origin);
    struct pool *pool = pool_of(allocation->place);
    uint32_t number = pool == NULL
                          ? nonpinned_memory_account((void *)(uintptr_t)address, generation)
                          : pool_account(pool, address, generation);
    return number == ACCOUNT_NONE ? 0 : from_whole_number(account_key(number));
}
