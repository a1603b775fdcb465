#include "pool/pool.h"

#include <stddef.h>
#include <string.h>

#include "pool/bins.h"
#include "pool/hot.h"
#include "pool/index.h"
#include "pool/layout.h"

// Below this share of the pool a block is small whatever the others are.
enum { LARGE_SHARE_MAX = 48 };

// Whole steps of the table, so that no number wraps.
#define NODE_COUNT_MAX (UINT32_MAX / NODE_WORD_COUNT - 2047)
#define GRANULE_COUNT_MAX ((uint64_t)1 << 44)

// ---- Spare nodes

// SENTINEL where the system refuses memory.
HOT uint32_t take_node(struct pool *pool)
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

HOT void give_node_back(struct pool *pool, uint32_t number)
{
    node_at(pool, number)->spare_next = pool->spare_node;
    pool->spare_node = number;
}

// ---- Taking blocks

static void link_between(struct pool *pool, uint32_t previous, uint32_t number, uint32_t next)
{
    struct node *node = node_at(pool, number);
    node->previous = previous;
    node->next = next;
    node_at(pool, previous)->next = number;
    node_at(pool, next)->previous = number;
}

// Makes a live block of a new node from what is cut off a free block that is larger, or off the
// middle: at the end that is further from the middle, or that touches the side. What is left of the
// free block is the caller's to put in its bin.
HOT void cut(struct pool *pool, enum side side, uint32_t rest_number, uint64_t rest_granule_count,
             uint32_t number, uint64_t granule_count)
{
    struct node *rest = node_at(pool, rest_number);
    struct node *node = node_at(pool, number);
    rest->extent = free_extent(rest_granule_count);
    node->extent = live_extent(granule_count);
    if (side == LOW) {
        node->granule = rest->granule;
        rest->granule += granule_count;
        link_between(pool, rest->previous, number, rest_number);
    } else {
        node->granule = rest->granule + rest_granule_count;
        link_between(pool, rest_number, number, rest->next);
    }
}

// Makes a live block of a bin's first one, or of a part of it. SENTINEL where the system refuses
// memory.
HOT uint32_t take_from_bin(struct pool *pool, enum side side, struct fit fit,
                           uint64_t granule_count)
{
    struct pool_bins *bins = &pool->bins[side];
    uint32_t first = bins->first[fit.bin];
    if (fit.granule_count == granule_count) {
        bin_remove_first(pool, bins, fit.bin);
        node_at(pool, first)->extent = live_extent(granule_count);
        return first;
    }
    uint32_t number = take_node(pool);
    if (number == SENTINEL) return SENTINEL;
    uint64_t rest_granule_count = fit.granule_count - granule_count;
    bin_remove_first(pool, bins, fit.bin);
    cut(pool, side, first, rest_granule_count, number, granule_count);
    bin_insert(pool, bins, first, rest_granule_count);
    return number;
}

HOT uint32_t take_from_middle(struct pool *pool, enum side side, uint64_t granule_count)
{
    uint32_t number = take_node(pool);
    if (number == SENTINEL) return SENTINEL;
    uint64_t rest_granule_count = granule_count_of(node_at(pool, MIDDLE)) - granule_count;
    cut(pool, side, MIDDLE, rest_granule_count, number, granule_count);
    return number;
}

// For what neither its own side's bins nor the middle serve.
ASIDE enum pool_status take_elsewhere(struct pool *pool, enum side own, uint64_t granule_count,
                                      uint32_t *number)
{
    enum side other = own == LOW ? HIGH : LOW;
    enum side side = other;
    struct fit fit = best_in_bins(pool, &pool->bins[other], granule_count);
    if (fit.bin == 0) fit = last_in_bins(pool, &pool->bins[other], granule_count);
    if (fit.bin == 0) {
        side = own;
        fit = last_in_bins(pool, &pool->bins[own], granule_count);
    }
    if (fit.bin == 0) return POOL_FULL;
    *number = take_from_bin(pool, side, fit, granule_count);
    return *number == SENTINEL ? POOL_OUT_OF_METADATA : POOL_OK;
}

HOT enum pool_status take_on(struct pool *pool, enum side side, uint64_t granule_count,
                             uint32_t *number)
{
    struct fit fit = best_in_bins(pool, &pool->bins[side], granule_count);
    if (fit.bin != 0) {
        *number = take_from_bin(pool, side, fit, granule_count);
    } else if (granule_count_of(node_at(pool, MIDDLE)) >= granule_count) {
        *number = take_from_middle(pool, side, granule_count);
    } else {
        return take_elsewhere(pool, side, granule_count, number);
    }
    return *number == SENTINEL ? POOL_OUT_OF_METADATA : POOL_OK;
}

// Where a request that may be large belongs: to the high side unless blocks of larger levels hold
// half of what is in use. So the sides come to share the live bytes evenly, whatever sizes a
// program asks for.
static enum side side_of_large(const struct pool *pool, uint64_t granule_count)
{
    uint64_t larger_granule_count = 0;
    for (uint32_t level = level_of(pool->granule_count); level > level_of(granule_count); level--) {
        larger_granule_count += pool->large_granule_counts[level];
    }
    return 2 * larger_granule_count <= pool->used_granule_count ? HIGH : LOW;
}

ASIDE enum pool_status take_large(struct pool *pool, uint64_t granule_count, uint32_t *number)
{
    enum side side = side_of_large(pool, granule_count);
    enum pool_status status = take_on(pool, side, granule_count, number);
    if (status == POOL_OK) pool->large_granule_counts[level_of(granule_count)] += granule_count;
    return status;
}

// What is not large takes a way on which the compiler knows its side.
HOT enum pool_status take(struct pool *pool, uint64_t granule_count, uint32_t *number)
{
    if (may_be_large(pool, granule_count)) return take_large(pool, granule_count, number);
    return take_on(pool, LOW, granule_count, number);
}

// ---- Giving blocks back

HOT void unlink_and_give_back(struct pool *pool, uint32_t number)
{
    struct node *node = node_at(pool, number);
    node_at(pool, node->previous)->next = node->next;
    node_at(pool, node->next)->previous = node->previous;
    give_node_back(pool, number);
}

// Takes a free block out of its bin, to become part of a neighbour.
HOT uint64_t take_out(struct pool *pool, struct pool_bins *bins, uint32_t number)
{
    uint64_t granule_count = granule_count_of(node_at(pool, number));
    bin_remove(pool, bins, bin_of(granule_count), number);
    return granule_count;
}

// A block beside the middle becomes part of it, with the free block on its other side.
HOT void join_middle(struct pool *pool, uint32_t number)
{
    struct node *middle = node_at(pool, MIDDLE);
    struct node *node = node_at(pool, number);
    bool is_below = node->next == MIDDLE;
    uint32_t other_number = is_below ? node->previous : node->next;
    uint64_t granule_count = granule_count_of(node);
    unlink_and_give_back(pool, number);
    if (!is_live(node_at(pool, other_number))) {
        granule_count += take_out(pool, &pool->bins[is_below ? LOW : HIGH], other_number);
        unlink_and_give_back(pool, other_number);
    }
    if (is_below) middle->granule -= granule_count;
    middle->extent += free_extent(granule_count);
}

// The free neighbours are joined to the block's node, which gets its place in a bin.
HOT void make_free_on(struct pool *pool, enum side side, uint32_t number)
{
    struct node *node = node_at(pool, number);
    uint32_t previous_number = node->previous;
    uint32_t next_number = node->next;
    struct node *previous = node_at(pool, previous_number);
    struct node *next = node_at(pool, next_number);
    bool joins_previous = !is_live(previous);
    bool joins_next = !is_live(next);
    struct pool_bins *bins = &pool->bins[side];
    uint64_t granule_count = granule_count_of(node);

    uint32_t kept_number = number;
    if (joins_previous || joins_next) {
        unlink_and_give_back(pool, number);
        if (joins_next) {
            granule_count += take_out(pool, bins, next_number);
            next->granule = node->granule;
            kept_number = next_number;
        }
        if (joins_previous) {
            granule_count += take_out(pool, bins, previous_number);
            if (joins_next) unlink_and_give_back(pool, next_number);
            kept_number = previous_number;
        }
    }
    node_at(pool, kept_number)->extent = free_extent(granule_count);
    bin_insert(pool, bins, kept_number, granule_count);
}

ASIDE void make_free_on_high(struct pool *pool, uint32_t number)
{
    make_free_on(pool, HIGH, number);
}

// The block is no longer in the index.
HOT void make_free(struct pool *pool, uint32_t number)
{
    struct node *node = node_at(pool, number);
    if (node->previous == MIDDLE || node->next == MIDDLE) {
        join_middle(pool, number);
    } else if (side_of(pool, node) == LOW) {
        make_free_on(pool, LOW, number);
    } else {
        make_free_on_high(pool, number);
    }
}

// ---- Opening and closing

// Huge pages may waste 2 MiB. That is little beside a large pool or large tables, and nowhere else.
static size_t huge_pages_from(uint64_t granule_count)
{
    bool is_large_pool = granule_count * POOL_GRANULE_BYTE_SIZE >= UINT64_C(4) << 30;
    return is_large_pool ? 256 * 1024 : 16 * 1024 * 1024;
}

static bool reserve_tables(struct pool *pool, uint64_t granule_count)
{
    // At worst every granule is a block of its own; and there are the sentinel and the middle.
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
    pool->unused_node = MIDDLE + NODE_WORD_COUNT;
    pool->base = base;
    pool->granule_count = granule_count;
    pool->large_granule_count_min = (granule_count + LARGE_SHARE_MAX - 1) / LARGE_SHARE_MAX;
    pool->used_granule_count = 0;
    pool->peak_used_granule_count = 0;
    pool->live_block_count = 0;
    pool->failed_allocation_count = 0;
    pool->bucket_count = BUCKET_COUNT_AT_OPEN;
    pool->bucket_mask = BUCKET_COUNT_AT_OPEN - 1;
    *node_at(pool, SENTINEL) =
        (struct node){.extent = live_extent(0), .previous = MIDDLE, .next = MIDDLE};
    *node_at(pool, MIDDLE) = (struct node){.extent = free_extent(granule_count)};
    pool->generation = new_generation();
    return POOL_OK;
}

enum pool_status pool_open(struct pool *pool, uint64_t base, uint64_t byte_size)
{
    uint64_t granule_count = byte_size / POOL_GRANULE_BYTE_SIZE;
    if (granule_count == 0 || granule_count > GRANULE_COUNT_MAX ||
        byte_size % POOL_GRANULE_BYTE_SIZE != 0 || base % POOL_GRANULE_BYTE_SIZE != 0 ||
        base == 0 || base + byte_size < base) {
        return POOL_BAD_RANGE;
    }
    lock_acquire(&pool->lock);
    enum pool_status status =
        pool->generation != 0 ? POOL_BAD_RANGE : open_locked(pool, base, granule_count);
    lock_release(&pool->lock);
    return status;
}

void pool_close(struct pool *pool)
{
    lock_acquire(&pool->lock);
    pool->generation = 0;
    pool->granule_count = 0;
    metadata_array_release(&pool->nodes);
    metadata_array_release(&pool->buckets);
    lock_release(&pool->lock);
}

// ---- Requests

static uint64_t largest_free_granule_count(struct pool *pool)
{
    uint64_t largest = granule_count_of(node_at(pool, MIDDLE));
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

static enum pool_status why_no_block_has(const struct pool *pool, uint64_t byte_size)
{
    if (byte_size == 0) return POOL_BAD_RANGE;
    return pool->generation == 0 ? POOL_CLOSED : POOL_FULL;
}

HOT enum pool_status alloc_locked(struct pool *pool, uint64_t byte_size, struct pool_block *block)
{
    // Of 0 bytes far too many.
    uint64_t granule_count = (byte_size - 1) / POOL_GRANULE_BYTE_SIZE + 1;
    if (__builtin_expect(granule_count > pool->granule_count, 0)) {
        return why_no_block_has(pool, byte_size);
    }
    uint32_t number;
    enum pool_status status = take(pool, granule_count, &number);
    if (__builtin_expect(status != POOL_OK, 0)) return status;
    pool->live_block_count++;
    index_insert(pool, number);
    pool->used_granule_count += granule_count;
    if (pool->used_granule_count > pool->peak_used_granule_count) {
        pool->peak_used_granule_count = pool->used_granule_count;
    }
    block->address = pool->base + node_at(pool, number)->granule * POOL_GRANULE_BYTE_SIZE;
    block->generation = pool->generation;
    return POOL_OK;
}

enum pool_status pool_alloc(struct pool *pool, uint64_t byte_size, struct pool_block *block,
                            struct pool_stats *full)
{
    lock_acquire(&pool->lock);
    enum pool_status status = alloc_locked(pool, byte_size, block);
    if (__builtin_expect(status == POOL_FULL || status == POOL_OUT_OF_METADATA, 0)) {
        if (full != NULL) {
            pool->failed_allocation_count++;
            read_stats_locked(pool, full);
        }
    }
    lock_release(&pool->lock);
    return status;
}

HOT enum pool_status find_live(const struct pool *pool, uint64_t address, uint64_t generation,
                               struct indexed *found)
{
    if (generation != 0 && generation != pool->generation) return POOL_CLOSED;
    uint64_t offset = address - pool->base; // wraps to a huge one below the base
    // A rotation: what is not a multiple of the granule becomes huge too.
    uint64_t granule = offset / POOL_GRANULE_BYTE_SIZE |
                       offset % POOL_GRANULE_BYTE_SIZE * (UINT64_MAX / POOL_GRANULE_BYTE_SIZE + 1);
    if (__builtin_expect(granule >= pool->granule_count, 0)) {
        return pool->generation == 0 ? POOL_CLOSED : POOL_NOT_ALLOCATED;
    }
    *found = index_find(pool, granule);
    return found->number == SENTINEL ? POOL_NOT_ALLOCATED : POOL_OK;
}

// The same of one that is neither retired nor lent.
HOT enum pool_status find_owned(const struct pool *pool, uint64_t address, uint64_t generation,
                                struct indexed *found)
{
    enum pool_status status = find_live(pool, address, generation, found);
    if (status != POOL_OK) return status;
    uint32_t retired_number = node_at(pool, found->number)->retired_number;
    if (__builtin_expect(retired_number == 0, 1)) return POOL_OK;
    return retired_number == LENT ? POOL_LENT : POOL_NOT_ALLOCATED;
}

static enum pool_status find_retired(const struct pool *pool, uint64_t address, uint64_t generation,
                                     struct indexed *found)
{
    enum pool_status status = find_live(pool, address, generation, found);
    if (status != POOL_OK) return status;
    return is_retired(node_at(pool, found->number)) ? POOL_OK : POOL_NOT_ALLOCATED;
}

HOT void free_live(struct pool *pool, struct indexed live)
{
    uint32_t number = live.number;
    *live.link = node_at(pool, number)->bucket_next;
    pool->live_block_count--;
    uint64_t granule_count = granule_count_of(node_at(pool, number));
    pool->used_granule_count -= granule_count;
    if (may_be_large(pool, granule_count)) {
        pool->large_granule_counts[level_of(granule_count)] -= granule_count;
    }
    make_free(pool, number);
}

enum pool_status pool_free(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_owned(pool, address, generation, &found);
    if (__builtin_expect(status == POOL_OK, 1)) free_live(pool, found);
    lock_release(&pool->lock);
    return status;
}

// ---- Retired and lent blocks

enum pool_status pool_retire(struct pool *pool, uint64_t address, uint64_t generation,
                             uint32_t number, uint64_t *block_byte_size)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_owned(pool, address, generation, &found);
    if (status == POOL_LENT) status = POOL_OK;
    if (status == POOL_OK) {
        struct node *node = node_at(pool, found.number);
        node->retired_number = number;
        *block_byte_size = granule_count_of(node) * POOL_GRANULE_BYTE_SIZE;
    }
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_free_retired(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_retired(pool, address, generation, &found);
    if (status == POOL_OK) free_live(pool, found);
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_lend(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_retired(pool, address, generation, &found);
    if (status == POOL_OK) node_at(pool, found.number)->retired_number = LENT;
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_end_loan(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    enum pool_status status = find_owned(pool, address, generation, &found);
    if (status == POOL_LENT) {
        node_at(pool, found.number)->retired_number = 0;
        status = POOL_OK;
    } else if (status == POOL_OK) {
        status = POOL_NOT_ALLOCATED;
    }
    lock_release(&pool->lock);
    return status;
}

bool pool_is_lent(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    struct indexed found;
    bool is_lent = find_owned(pool, address, generation, &found) == POOL_LENT;
    lock_release(&pool->lock);
    return is_lent;
}

// Whether the block is free, or retired and not after the number.
static bool is_free_without(const struct pool *pool, uint32_t number, uint32_t retired_number)
{
    if (number == SENTINEL) return false;
    const struct node *node = node_at(pool, number);
    if (!is_live(node)) return true;
    return is_retired(node) && (int32_t)(node->retired_number - retired_number) <= 0;
}

uint64_t pool_byte_size_without(struct pool *pool, uint64_t address)
{
    lock_acquire(&pool->lock);
    uint64_t granule_count = 0;
    struct indexed found;
    if (find_retired(pool, address, 0, &found) == POOL_OK) {
        const struct node *retired = node_at(pool, found.number);
        uint32_t last = retired->retired_number;
        granule_count = granule_count_of(retired);
        for (uint32_t number = retired->previous; is_free_without(pool, number, last);
             number = node_at(pool, number)->previous) {
            granule_count += granule_count_of(node_at(pool, number));
        }
        for (uint32_t number = retired->next; is_free_without(pool, number, last);
             number = node_at(pool, number)->next) {
            granule_count += granule_count_of(node_at(pool, number));
        }
    }
    lock_release(&pool->lock);
    return granule_count * POOL_GRANULE_BYTE_SIZE;
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
