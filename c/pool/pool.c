#include "pool/pool.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "pool/bins.h"
#include "pool/index.h"
#include "pool/inline.h"
#include "pool/tables.h"

// A block that takes less than this fraction of the pool, 1/48, is small whatever the others are.
enum { LARGE_SHARE_DIVISOR = 48 };

// How many nodes a thread looks at before others get the lock.
enum { FIND_STEP_COUNT = 4096 };

// The table of nodes grows in whole steps, which must not reach numbers that wrap.
#define NODE_COUNT_MAX (UINT32_MAX / NODE_WORD_COUNT - 2047)

// ---- Spare nodes

// Returns SENTINEL where the system refuses memory.
ALWAYS_INLINE uint32_t acquire_node(struct pool *pool)
{
    uint32_t number = pool->spare_node;
    if (number != SENTINEL) {
        pool->spare_node = node_at(pool, number)->spare_next;
        return number;
    }
    number = pool->unused_node;
    size_t needed_byte_size = (size_t)number * WORD_BYTE_SIZE + sizeof(struct node);
    if (!metadata_array_ensure(&pool->nodes, needed_byte_size)) return SENTINEL;
    pool->unused_node = number + NODE_WORD_COUNT;
    return number;
}

ALWAYS_INLINE void release_node(struct pool *pool, uint32_t number)
{
    node_at(pool, number)->spare_next = pool->spare_node;
    pool->spare_node = number;
}

// ---- Splitting blocks off

static void link_between(struct pool *pool, uint32_t previous, uint32_t number, uint32_t next)
{
    struct node *node = node_at(pool, number);
    node->address_previous = previous;
    node->address_next = next;
    node_at(pool, previous)->address_next = number;
    node_at(pool, next)->address_previous = number;
}

// Splits a live block, for which there is a new node, off a larger free block or the wilderness. It
// comes off the end that is further from the wilderness, or of the wilderness off the end at the side
// that it is for. The caller puts what is left of the free block into its bin.
ALWAYS_INLINE void split(struct pool *pool, enum side side, uint32_t rest_number,
                         uint64_t rest_granule_count, uint32_t number, uint64_t granule_count)
{
    struct node *rest = node_at(pool, rest_number);
    struct node *node = node_at(pool, number);
    assert(!is_live(rest) && granule_count_of(rest) == rest_granule_count + granule_count);
    rest->extent = free_extent(rest_granule_count);
    node->extent = live_extent(granule_count);
    if (side == LOW) {
        node->place = rest->place;
        rest->place += granule_count;
        link_between(pool, rest->address_previous, number, rest_number);
    } else {
        node->place = rest->place + rest_granule_count;
        link_between(pool, rest_number, number, rest->address_next);
    }
}

// Makes the first block of a bin, or a part of it, a live block. Returns SENTINEL where the system
// refuses memory.
ALWAYS_INLINE uint32_t allocate_from_bin(struct pool *pool, enum side side, struct fit fit,
                                         uint64_t granule_count)
{
    struct pool_bins *bins = &pool->bins[side];
    uint32_t first = bins->first[fit.bin];
    assert(granule_count_of(node_at(pool, first)) == fit.granule_count);
    assert(fit.granule_count >= granule_count);
    if (fit.granule_count == granule_count) {
        bin_remove_first(pool, bins, fit.bin);
        node_at(pool, first)->extent = live_extent(granule_count);
        return first;
    }
    uint32_t number = acquire_node(pool);
    if (number == SENTINEL) return SENTINEL;
    uint64_t rest_granule_count = fit.granule_count - granule_count;
    bin_remove_first(pool, bins, fit.bin);
    split(pool, side, first, rest_granule_count, number, granule_count);
    bin_insert(pool, bins, first, rest_granule_count);
    return number;
}

ALWAYS_INLINE uint32_t allocate_from_wilderness(struct pool *pool, enum side side,
                                                uint64_t granule_count)
{
    uint32_t number = acquire_node(pool);
    if (number == SENTINEL) return SENTINEL;
    uint64_t rest_granule_count = free_granule_count_of(node_at(pool, WILDERNESS)) - granule_count;
    split(pool, side, WILDERNESS, rest_granule_count, number, granule_count);
    return number;
}

// Serves a request that neither its own side's bins nor the wilderness can serve.
NOINLINE enum pool_status allocate_elsewhere(struct pool *pool, enum side own,
                                             uint64_t granule_count, uint32_t *number)
{
    enum side other = own == LOW ? HIGH : LOW;
    enum side side = other;
    struct fit fit = best_in_bins(pool, &pool->bins[other], granule_count);
    if (fit.bin == 0) fit = last_resort_in_bins(pool, &pool->bins[other], granule_count);
    if (fit.bin == 0) {
        side = own;
        fit = last_resort_in_bins(pool, &pool->bins[own], granule_count);
    }
    if (fit.bin == 0) return POOL_FULL;
    *number = allocate_from_bin(pool, side, fit, granule_count);
    return *number == SENTINEL ? POOL_OUT_OF_METADATA : POOL_OK;
}

ALWAYS_INLINE enum pool_status allocate_on(struct pool *pool, enum side side,
                                           uint64_t granule_count, uint32_t *number)
{
    struct fit fit = best_in_bins(pool, &pool->bins[side], granule_count);
    if (fit.bin != 0) {
        *number = allocate_from_bin(pool, side, fit, granule_count);
    } else if (free_granule_count_of(node_at(pool, WILDERNESS)) >= granule_count) {
        *number = allocate_from_wilderness(pool, side, granule_count);
    } else {
        return allocate_elsewhere(pool, side, granule_count, number);
    }
    return *number == SENTINEL ? POOL_OUT_OF_METADATA : POOL_OK;
}

// A request that may be large belongs to the high side unless blocks of larger levels hold half of
// what is in use. So the sides come to share the live bytes evenly, whatever sizes a program asks for.
static enum side side_of_large(const struct pool *pool, uint64_t granule_count)
{
    uint64_t larger_granule_count = 0;
    for (uint32_t level = level_of(pool->granule_count); level > level_of(granule_count); level--) {
        larger_granule_count += pool->large_granule_counts[level];
    }
    return 2 * larger_granule_count <= pool->used_granule_count ? HIGH : LOW;
}

NOINLINE enum pool_status allocate_large(struct pool *pool, uint64_t granule_count,
                                         uint32_t *number)
{
    enum side side = side_of_large(pool, granule_count);
    enum pool_status status = allocate_on(pool, side, granule_count, number);
    if (status == POOL_OK) pool->large_granule_counts[level_of(granule_count)] += granule_count;
    return status;
}

// The compiler knows the side of a small request.
ALWAYS_INLINE enum pool_status allocate(struct pool *pool, uint64_t granule_count, uint32_t *number)
{
    if (may_be_large(pool, granule_count)) return allocate_large(pool, granule_count, number);
    return allocate_on(pool, LOW, granule_count, number);
}

// ---- Coalescing blocks that are freed

ALWAYS_INLINE void unlink_and_release(struct pool *pool, uint32_t number)
{
    struct node *node = node_at(pool, number);
    node_at(pool, node->address_previous)->address_next = node->address_next;
    node_at(pool, node->address_next)->address_previous = node->address_previous;
    release_node(pool, number);
}

// Removes a free block from its bin, because it becomes part of a neighbour. Returns its size.
ALWAYS_INLINE uint64_t remove_from_bin(struct pool *pool, struct pool_bins *bins, uint32_t number)
{
    uint64_t granule_count = free_granule_count_of(node_at(pool, number));
    assert(number != WILDERNESS);
    bin_remove(pool, bins, bin_of(granule_count), number);
    return granule_count;
}

// A block beside the wilderness becomes part of it, with the free block on its other side.
ALWAYS_INLINE void coalesce_with_wilderness(struct pool *pool, uint32_t number,
                                            uint64_t granule_count)
{
    struct node *wilderness = node_at(pool, WILDERNESS);
    struct node *node = node_at(pool, number);
    bool is_below = node->address_next == WILDERNESS;
    uint32_t other_number = is_below ? node->address_previous : node->address_next;
    unlink_and_release(pool, number);
    if (!is_live(node_at(pool, other_number))) {
        granule_count += remove_from_bin(pool, &pool->bins[is_below ? LOW : HIGH], other_number);
        unlink_and_release(pool, other_number);
    }
    if (is_below) wilderness->place -= granule_count;
    wilderness->extent += free_extent(granule_count);
}

// Coalesces a block with its free neighbours and puts the result into a bin of its side.
ALWAYS_INLINE void coalesce_on(struct pool *pool, enum side side, uint32_t number,
                               uint64_t granule_count)
{
    struct node *node = node_at(pool, number);
    uint32_t previous_number = node->address_previous;
    uint32_t next_number = node->address_next;
    struct node *previous = node_at(pool, previous_number);
    struct node *next = node_at(pool, next_number);
    bool merges_previous = !is_live(previous);
    bool merges_next = !is_live(next);
    struct pool_bins *bins = &pool->bins[side];

    uint32_t kept_number = number;
    if (merges_previous || merges_next) {
        unlink_and_release(pool, number);
        if (merges_next) {
            granule_count += remove_from_bin(pool, bins, next_number);
            next->place = node->place;
            kept_number = next_number;
        }
        if (merges_previous) {
            granule_count += remove_from_bin(pool, bins, previous_number);
            if (merges_next) unlink_and_release(pool, next_number);
            kept_number = previous_number;
        }
    }
    node_at(pool, kept_number)->extent = free_extent(granule_count);
    bin_insert(pool, bins, kept_number, granule_count);
}

NOINLINE void coalesce_on_high(struct pool *pool, uint32_t number, uint64_t granule_count)
{
    coalesce_on(pool, HIGH, number, granule_count);
}

// Makes a block free that is no longer in the index and has no owner any more.
ALWAYS_INLINE void coalesce(struct pool *pool, uint32_t number, uint64_t granule_count)
{
    struct node *node = node_at(pool, number);
    if (node->address_previous == WILDERNESS || node->address_next == WILDERNESS) {
        coalesce_with_wilderness(pool, number, granule_count);
    } else if (side_of(pool, node) == LOW) {
        coalesce_on(pool, LOW, number, granule_count);
    } else {
        coalesce_on_high(pool, number, granule_count);
    }
}

// ---- Opening and closing

// From what size on the tables take huge pages, each of which may waste up to 2 MiB: that is little
// beside a large pool or large tables only.
static size_t huge_pages_from(uint64_t granule_count)
{
    bool is_large_pool = granule_count * POOL_GRANULE_BYTE_SIZE >= UINT64_C(4) << 30;
    return is_large_pool ? 256 * 1024 : 16 * 1024 * 1024;
}

static bool reserve_tables(struct pool *pool, uint64_t granule_count)
{
    // At worst every granule is a block of its own. The sentinel and the wilderness have a node each.
    uint64_t node_count = granule_count < NODE_COUNT_MAX - 2 ? granule_count + 2 : NODE_COUNT_MAX;
    uint64_t bucket_count = 2 * node_count + BUCKET_COUNT_AT_OPEN;
    if (!metadata_array_reserve(&pool->nodes, node_count * sizeof(struct node))) return false;
    pool->nodes.huge_from_byte_size = huge_pages_from(granule_count);
    bool is_reserved = metadata_array_reserve(&pool->buckets, bucket_count * sizeof(uint32_t));
    pool->buckets.huge_from_byte_size = huge_pages_from(granule_count);
    if (is_reserved && metadata_array_grow(&pool->nodes, 2 * sizeof(struct node)) &&
        metadata_array_grow(&pool->buckets, BUCKET_COUNT_AT_OPEN * sizeof(uint32_t))) {
        return true;
    }
    metadata_array_release(&pool->nodes);
    metadata_array_release(&pool->buckets);
    return false;
}

static uint64_t new_generation(void)
{
    static _Atomic uint64_t last_generation;
    return atomic_fetch_add_explicit(&last_generation, 1, memory_order_relaxed) + 1;
}

static enum pool_status open_locked(struct pool *pool, uint64_t base, uint64_t granule_count)
{
    if (!reserve_tables(pool, granule_count)) return POOL_OUT_OF_METADATA;
    memset(pool->bins, 0, sizeof pool->bins);
    memset(pool->large_granule_counts, 0, sizeof pool->large_granule_counts);
    pool->spare_node = SENTINEL;
    pool->unused_node = WILDERNESS + NODE_WORD_COUNT;
    pool->base = base;
    pool->granule_count = granule_count;
    pool->servable_granule_count = granule_count;
    pool->is_refusing = false;
    pool->is_awaited = false;
    pool->large_granule_count_min = (granule_count + LARGE_SHARE_DIVISOR - 1) / LARGE_SHARE_DIVISOR;
    pool->used_granule_count = 0;
    pool->peak_used_granule_count = 0;
    pool->live_block_count = 0;
    pool->failed_allocation_count = 0;
    pool->bucket_count = BUCKET_COUNT_AT_OPEN;
    pool->bucket_mask = BUCKET_COUNT_AT_OPEN - 1;
    *node_at(pool, SENTINEL) = (struct node){
        .extent = live_extent(0), .address_previous = WILDERNESS, .address_next = WILDERNESS};
    *node_at(pool, WILDERNESS) = (struct node){.extent = free_extent(granule_count)};
    pool->generation = new_generation();
    return POOL_OK;
}

static bool is_range(uint64_t base, uint64_t byte_size)
{
    uint64_t granule_count = byte_size / POOL_GRANULE_BYTE_SIZE;
    return granule_count > 0 && granule_count <= POOL_GRANULE_COUNT_MAX &&
           byte_size % POOL_GRANULE_BYTE_SIZE == 0 && base % POOL_GRANULE_BYTE_SIZE == 0 &&
           base != 0 && base + byte_size >= base;
}

enum pool_status pool_open(struct pool *pool, uint64_t base, uint64_t byte_size)
{
    if (!is_range(base, byte_size)) return POOL_BAD_RANGE;
    lock_acquire(&pool->lock);
    enum pool_status status = pool->generation != 0
                                  ? POOL_BAD_RANGE
                                  : open_locked(pool, base, byte_size / POOL_GRANULE_BYTE_SIZE);
    lock_release(&pool->lock);
    return status;
}

static void close_locked(struct pool *pool)
{
    pool->generation = 0;
    pool->granule_count = 0;
    pool->servable_granule_count = 0;
    metadata_array_release(&pool->nodes);
    metadata_array_release(&pool->buckets);
    account_usages_credit_all(&pool->account_usages);
}

void pool_close(struct pool *pool)
{
    lock_acquire(&pool->lock);
    close_locked(pool);
    lock_release(&pool->lock);
}

// A closed pool may still count the blocks that lived when it was closed.
static bool has_live_blocks(const struct pool *pool)
{
    return pool->generation != 0 && pool->live_block_count > 0;
}

// The tables of before are kept until there are new ones.
static enum pool_status reopen_locked(struct pool *pool, uint64_t base, uint64_t granule_count)
{
    struct metadata_array nodes = pool->nodes, buckets = pool->buckets;
    pool->nodes = pool->buckets = (struct metadata_array){0};
    enum pool_status status = open_locked(pool, base, granule_count);
    if (status == POOL_OK) {
        metadata_array_release(&nodes);
        metadata_array_release(&buckets);
    } else {
        pool->nodes = nodes;
        pool->buckets = buckets;
    }
    return status;
}

enum pool_status pool_reopen(struct pool *pool, uint64_t base, uint64_t byte_size)
{
    if (!is_range(base, byte_size)) return POOL_BAD_RANGE;
    lock_acquire(&pool->lock);
    enum pool_status status = has_live_blocks(pool)
                                  ? POOL_IN_USE
                                  : reopen_locked(pool, base, byte_size / POOL_GRANULE_BYTE_SIZE);
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_close_unused(struct pool *pool)
{
    lock_acquire(&pool->lock);
    enum pool_status status = has_live_blocks(pool) ? POOL_IN_USE : POOL_OK;
    if (status == POOL_OK) close_locked(pool);
    lock_release(&pool->lock);
    return status;
}

static void set_servable(struct pool *pool)
{
    bool serves_all = !pool->is_refusing && !pool->is_awaited;
    pool->servable_granule_count = serves_all ? pool->granule_count : 0;
}

void pool_refuse(struct pool *pool)
{
    lock_acquire(&pool->lock);
    pool->is_refusing = true;
    set_servable(pool);
    lock_release(&pool->lock);
}

void pool_set_awaited(struct pool *pool, bool is_awaited)
{
    lock_acquire(&pool->lock);
    pool->is_awaited = is_awaited;
    set_servable(pool);
    lock_release(&pool->lock);
}

// ---- Requests

static uint64_t largest_free_granule_count(struct pool *pool)
{
    uint64_t largest = free_granule_count_of(node_at(pool, WILDERNESS));
    for (enum side side = LOW; side <= HIGH; side++) {
        uint64_t in_side = largest_in_bins(pool, &pool->bins[side]);
        if (in_side > largest) largest = in_side;
    }
    return largest;
}

static void read_stats_locked(struct pool *pool, struct pool_stats *stats)
{
    const uint64_t granule_byte_size = POOL_GRANULE_BYTE_SIZE;
    uint64_t free_granule_count = pool->granule_count - pool->used_granule_count;
    stats->capacity_byte_size = pool->granule_count * granule_byte_size;
    stats->used_byte_size = pool->used_granule_count * granule_byte_size;
    stats->peak_used_byte_size = pool->peak_used_granule_count * granule_byte_size;
    stats->free_byte_size = free_granule_count * granule_byte_size;
    stats->largest_free_byte_size = largest_free_granule_count(pool) * granule_byte_size;
    stats->allocation_count = pool->live_block_count;
    stats->failed_allocation_count = pool->failed_allocation_count;
}

// A size of 0 wraps round to a count that no pool has.
ALWAYS_INLINE uint64_t granules_of_request(uint64_t byte_size)
{
    return (byte_size - 1) / POOL_GRANULE_BYTE_SIZE + 1;
}

static enum pool_status why_no_block_has(const struct pool *pool, uint64_t byte_size)
{
    if (byte_size == 0) return POOL_BAD_RANGE;
    if (pool->generation == 0) return POOL_CLOSED;
    if (pool->is_refusing) return POOL_REFUSING;
    return granules_of_request(byte_size) > pool->granule_count ? POOL_TOO_LARGE : POOL_AWAITED;
}

// Whether the pool would serve the request if all of it were free.
ALWAYS_INLINE bool may_ever_fit(const struct pool *pool, uint64_t granule_count, bool has_waited)
{
    if (granule_count <= pool->servable_granule_count) return true;
    return has_waited && !pool->is_refusing && granule_count <= pool->granule_count;
}

static enum pool_status status_of(enum account_status status)
{
    switch (status) {
    case ACCOUNT_OK:
        return POOL_OK;
    case ACCOUNT_OVER_LIMIT:
        return POOL_OVER_LIMIT;
    default:
        return POOL_ACCOUNT_ENDED;
    }
}

// Whether the client's account can be charged, for which the pool then has a line.
static enum pool_status check_account(struct pool *pool, const struct pool_client *client,
                                      uint64_t granule_count)
{
    if (!account_usages_ensure(&pool->account_usages, account_of_key(client->account_key))) {
        return POOL_OUT_OF_METADATA;
    }
    return status_of(account_check(client->account_key, granule_count, client->has_waited));
}

ALWAYS_INLINE enum pool_status charge(const struct pool_client *client, uint64_t granule_count)
{
    return status_of(account_charge(client->account_key, granule_count, client->has_waited));
}

// Makes a block free that is not in the index yet.
NOINLINE void take_back(struct pool *pool, uint32_t number, uint64_t granule_count)
{
    if (may_be_large(pool, granule_count)) {
        pool->large_granule_counts[level_of(granule_count)] -= granule_count;
    }
    coalesce(pool, number, granule_count);
}

ALWAYS_INLINE void enter_account(struct pool *pool, struct node *node, uint64_t account_key,
                                 uint64_t granule_count)
{
    set_account(node, granule_count, account_of_key(account_key));
    account_usage_add(&pool->account_usages, account_key, granule_count);
}

ALWAYS_INLINE enum pool_status alloc_locked(struct pool *pool, uint64_t byte_size,
                                            struct pool_client client, struct pool_block *block)
{
    uint64_t granule_count = granules_of_request(byte_size);
    if (__builtin_expect(!may_ever_fit(pool, granule_count, client.has_waited), 0)) {
        return why_no_block_has(pool, byte_size);
    }
    uint32_t number;
    enum pool_status status = POOL_OK;
    if (client.account_key != 0) status = check_account(pool, &client, granule_count);
    if (__builtin_expect(status != POOL_OK, 0)) return status;
    status = allocate(pool, granule_count, &number);
    if (__builtin_expect(status != POOL_OK, 0)) return status;
    if (client.account_key != 0) {
        status = charge(&client, granule_count);
        if (__builtin_expect(status != POOL_OK, 0)) {
            take_back(pool, number, granule_count);
            return status;
        }
    }
    pool->live_block_count++;
    uint64_t granule = node_at(pool, number)->place;
    index_insert(pool, number, client.owner);
    if (client.account_key != 0) {
        enter_account(pool, node_at(pool, number), client.account_key, granule_count);
    }
    pool->used_granule_count += granule_count;
    if (pool->used_granule_count > pool->peak_used_granule_count) {
        pool->peak_used_granule_count = pool->used_granule_count;
    }
    assert(pool->used_granule_count <= pool->granule_count);
    block->address = pool->base + granule * POOL_GRANULE_BYTE_SIZE;
    block->generation = pool->generation;
    return POOL_OK;
}

enum pool_status pool_check_request(struct pool *pool, uint64_t byte_size,
                                    const struct pool_client *client)
{
    lock_acquire(&pool->lock);
    bool may_fit = may_ever_fit(pool, granules_of_request(byte_size), client->has_waited);
    enum pool_status status = may_fit ? POOL_OK : why_no_block_has(pool, byte_size);
    lock_release(&pool->lock);
    return status;
}

static bool has_statistics(enum pool_status refusal)
{
    return refusal == POOL_FULL || refusal == POOL_TOO_LARGE || refusal == POOL_AWAITED ||
           refusal == POOL_OVER_LIMIT || refusal == POOL_OUT_OF_METADATA;
}

ALWAYS_INLINE enum pool_status alloc(struct pool *pool, uint64_t byte_size,
                                     struct pool_client client, struct pool_block *block,
                                     struct pool_stats *full)
{
    assert(client.owner <= POOL_OWNER_MAX);
    lock_acquire(&pool->lock);
    enum pool_status status = alloc_locked(pool, byte_size, client, block);
    if (__builtin_expect(status != POOL_OK, 0) && full != NULL && has_statistics(status)) {
        pool->failed_allocation_count++;
        read_stats_locked(pool, full);
    }
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_alloc(struct pool *pool, uint64_t byte_size, uint32_t owner,
                            struct pool_block *block, struct pool_stats *full)
{
    return alloc(pool, byte_size, (struct pool_client){.owner = owner}, block, full);
}

enum pool_status pool_alloc_for(struct pool *pool, uint64_t byte_size,
                                const struct pool_client *client, struct pool_block *block,
                                struct pool_stats *full)
{
    return alloc(pool, byte_size, *client, block, full);
}

ALWAYS_INLINE enum pool_status find_live(const struct pool *pool, uint64_t address,
                                         uint64_t generation, uint32_t owner, struct indexed *found)
{
    if (generation != 0 && generation != pool->generation) return POOL_CLOSED;
    // Below the base the offset wraps round to a huge number. This is a rotation, by which an offset
    // that is not a multiple of the granule becomes huge too. One comparison then refuses both.
    uint64_t offset = address - pool->base;
    uint64_t granule = offset / POOL_GRANULE_BYTE_SIZE |
                       offset % POOL_GRANULE_BYTE_SIZE * (UINT64_MAX / POOL_GRANULE_BYTE_SIZE + 1);
    if (__builtin_expect(granule >= pool->granule_count, 0)) {
        return pool->generation == 0 ? POOL_CLOSED : POOL_NOT_ALLOCATED;
    }
    *found = index_find(pool, granule, owner);
    return found->number == SENTINEL ? POOL_NOT_ALLOCATED : POOL_OK;
}

// As find_live(), and the block has the mark's tag too.
ALWAYS_INLINE enum pool_status find_tagged(const struct pool *pool, uint64_t address,
                                           uint64_t generation, struct pool_mark mark,
                                           struct indexed *found)
{
    enum pool_status status = find_live(pool, address, generation, mark.owner, found);
    if (status != POOL_OK) return status;
    return __builtin_expect(node_at(pool, found->number)->tag == mark.tag, 1) ? POOL_OK
                                                                              : POOL_TAGGED;
}

NOINLINE void forget_large_or_charged(struct pool *pool, const struct node *node)
{
    uint64_t granule_count = granule_count_of(node);
    uint32_t account = account_of(node);
    if (may_be_large(pool, granule_count)) {
        pool->large_granule_counts[level_of(granule_count)] -= granule_count;
    }
    if (account == ACCOUNT_NONE) return;
    account_usage_remove(&pool->account_usages, account, granule_count);
    account_credit(account, granule_count);
}

ALWAYS_INLINE void free_live(struct pool *pool, struct indexed live)
{
    struct node *node = node_at(pool, live.number);
    assert(is_live(node) && pool->live_block_count > 0);
    *live.link = node->bucket_next;
    node->place = granule_of(node);
    pool->live_block_count--;
    uint64_t granule_count = granule_count_of(node);
    assert(pool->used_granule_count >= granule_count);
    pool->used_granule_count -= granule_count;
    // With an account in the upper bits the word is larger than any size, so that one comparison finds
    // both kinds of blocks that there is more to do for.
    if (may_be_large(pool, node->extent >> 1)) forget_large_or_charged(pool, node);
    coalesce(pool, live.number, granule_count);
}

ALWAYS_INLINE enum pool_status free_marked(struct pool *pool, uint64_t address, uint64_t generation,
                                           struct pool_mark mark)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_tagged(pool, address, generation, mark, &found);
    if (__builtin_expect(status == POOL_OK, 1)) free_live(pool, found);
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_free(struct pool *pool, uint64_t address, uint64_t generation, uint32_t owner)
{
    return free_marked(pool, address, generation, (struct pool_mark){.owner = owner});
}

// ---- Marks

enum pool_status pool_free_marked(struct pool *pool, uint64_t address, uint64_t generation,
                                  struct pool_mark mark)
{
    return free_marked(pool, address, generation, mark);
}

static void set_mark(struct node *node, struct pool_mark mark)
{
    node->tag = mark.tag;
    if (mark.owner != POOL_ANY_OWNER) node->place = owned_place(granule_of(node), mark.owner);
}

enum pool_status pool_exchange_mark(struct pool *pool, uint64_t address, uint64_t generation,
                                    struct pool_mark *expected, struct pool_mark desired,
                                    uint64_t *block_byte_size)
{
    assert(desired.owner <= POOL_ANY_OWNER);
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_tagged(pool, address, generation, *expected, &found);
    if (status == POOL_OK || status == POOL_TAGGED) {
        struct node *node = node_at(pool, found.number);
        if (status == POOL_OK) set_mark(node, desired);
        else expected->tag = node->tag;
        if (block_byte_size != NULL) {
            *block_byte_size = granule_count_of(node) * POOL_GRANULE_BYTE_SIZE;
        }
    }
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_exchange_owner(struct pool *pool, uint64_t address, uint64_t generation,
                                     uint32_t expected, uint32_t desired, uint64_t *block_byte_size)
{
    struct pool_mark mark = {.owner = expected};
    return pool_exchange_mark(pool, address, generation, &mark,
                              (struct pool_mark){.owner = desired}, block_byte_size);
}

// Charges the client's account for a block that has an account, which may be the same.
static enum pool_status change_account(struct pool *pool, struct node *node,
                                       const struct pool_client *client)
{
    uint64_t granule_count = granule_count_of(node);
    uint32_t former = account_of(node);
    enum pool_status status = POOL_OK;
    // What the account has stays what it is where the block is its own already.
    bool is_charged = former != ACCOUNT_NONE && client->account_key == account_key(former);
    uint64_t added_granule_count = is_charged ? 0 : granule_count;
    if (client->account_key != 0) status = check_account(pool, client, added_granule_count);
    if (status == POOL_OK && client->account_key != 0) status = charge(client, added_granule_count);
    if (status != POOL_OK) return status;
    if (former != ACCOUNT_NONE) {
        account_usage_remove(&pool->account_usages, former, granule_count);
        if (!is_charged) account_credit(former, granule_count);
    }
    set_account(node, granule_count, ACCOUNT_NONE);
    if (client->account_key != 0) enter_account(pool, node, client->account_key, granule_count);
    return POOL_OK;
}

enum pool_status pool_exchange_client(struct pool *pool, uint64_t address, uint64_t generation,
                                      uint32_t tag, const struct pool_client *client)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    struct pool_mark mark = {.owner = POOL_ANY_OWNER, .tag = tag};
    enum pool_status status = find_tagged(pool, address, generation, mark, &found);
    if (status == POOL_OK) status = change_account(pool, node_at(pool, found.number), client);
    if (status == POOL_OK) {
        set_mark(node_at(pool, found.number),
                 (struct pool_mark){.owner = client->owner, .tag = tag});
    }
    lock_release(&pool->lock);
    return status;
}

uint32_t pool_account(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_live(pool, address, generation, POOL_ANY_OWNER, &found);
    uint32_t account = status == POOL_OK ? account_of(node_at(pool, found.number)) : ACCOUNT_NONE;
    lock_release(&pool->lock);
    return account;
}

void pool_read_account_usage(struct pool *pool, uint64_t account_key, struct account_usage *usage)
{
    lock_acquire(&pool->lock);
    account_usage_read(&pool->account_usages, account_key, usage);
    lock_release(&pool->lock);
}

void pool_note_account_refusal(struct pool *pool, uint64_t account_key, bool is_fallback)
{
    lock_acquire(&pool->lock);
    account_usage_note_refusal(&pool->account_usages, account_key, is_fallback);
    lock_release(&pool->lock);
}

void pool_reset_account_peak(struct pool *pool, uint64_t account_key)
{
    lock_acquire(&pool->lock);
    account_usage_reset_peak(&pool->account_usages, account_key);
    lock_release(&pool->lock);
}

// ---- Looking at a pool

enum pool_status pool_read_stats(struct pool *pool, struct pool_stats *stats)
{
    lock_acquire(&pool->lock);
    enum pool_status status = pool->generation == 0 ? POOL_CLOSED : POOL_OK;
    if (status == POOL_OK) read_stats_locked(pool, stats);
    lock_release(&pool->lock);
    return status;
}

uint64_t pool_generation(struct pool *pool)
{
    lock_acquire(&pool->lock);
    uint64_t generation = pool->generation;
    lock_release(&pool->lock);
    return generation;
}

bool pool_contains(struct pool *pool, uint64_t address)
{
    lock_acquire(&pool->lock);
    bool contains = address - pool->base < pool->granule_count * POOL_GRANULE_BYTE_SIZE;
    lock_release(&pool->lock);
    return contains;
}

// Whether the node, which may be any, is that of a live block of the owner. A spare node may still
// say that it is live, but the index does not know it.
static bool is_owned(const struct pool *pool, uint32_t number, uint32_t owner)
{
    const struct node *node = node_at(pool, number);
    if (!is_live(node) || (owner != POOL_ANY_OWNER && owner_of(node) != owner)) return false;
    return index_find(pool, granule_of(node), owner).number == number;
}

uint32_t pool_find_owned(struct pool *pool, uint32_t owner, uint64_t *cursor,
                         struct pool_owned_block found[], uint32_t found_count_max)
{
    lock_acquire(&pool->lock);
    uint32_t found_count = 0, looked_count = 0;
    uint64_t number = *cursor == 0 ? WILDERNESS + NODE_WORD_COUNT : *cursor;
    uint64_t end = pool->generation == 0 ? 0 : pool->unused_node;
    for (; number < end && looked_count < FIND_STEP_COUNT && found_count < found_count_max;
         number += NODE_WORD_COUNT, looked_count++) {
        if (!is_owned(pool, (uint32_t)number, owner)) continue;
        const struct node *node = node_at(pool, (uint32_t)number);
        found[found_count++] = (struct pool_owned_block){
            .address = pool->base + granule_of(node) * POOL_GRANULE_BYTE_SIZE,
            .generation = pool->generation,
            .byte_size = granule_count_of(node) * POOL_GRANULE_BYTE_SIZE,
            .owner = owner_of(node),
            .tag = node->tag,
        };
    }
    *cursor = number < end ? number : 0;
    lock_release(&pool->lock);
    return found_count;
}
