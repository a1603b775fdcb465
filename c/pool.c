#include "pool.h"

#include <stddef.h>
#include <string.h>

#include "pool_layout.h"

// Part of every allocation or free. The compiler would rather have one copy for those and for what
// is rare, which costs a fifth of a pair.
#define HOT static inline __attribute__((always_inline))

enum {
    BUCKET_COUNT_AT_OPEN = 1024,
    // Beyond this many blocks of a bin, looking for a better fit gains less than it costs.
    FIT_SCAN_COUNT_MAX = 4,
    // Below this share of the pool a block is small whatever the others are.
    LARGE_SHARE_MAX = 48,
};

#define NODE_COUNT_MAX (UINT32_MAX - 2047) // whole steps of the table, so that no number wraps
#define GRANULE_COUNT_MAX ((uint64_t)1 << 44)

static uint64_t free_extent(uint64_t granule_count)
{
    return granule_count << 1;
}

static uint64_t live_extent(uint64_t granule_count)
{
    return granule_count << 1 | 1;
}

// ---- Spare nodes

// SENTINEL where the system refuses memory.
static uint32_t take_node(struct pool *pool)
{
    uint32_t number = pool->spare_node;
    if (number != SENTINEL) {
        pool->spare_node = node_at(pool, number)->spare_next;
        return number;
    }
    size_t needed_byte_size = ((size_t)pool->node_count + 1) * sizeof(struct node);
    if (!metadata_array_ensure(&pool->nodes, needed_byte_size)) return SENTINEL;
    return pool->node_count++;
}

static void give_node_back(struct pool *pool, uint32_t number)
{
    node_at(pool, number)->spare_next = pool->spare_node;
    pool->spare_node = number;
}

// ---- Bins of free blocks

// Which of its neighbours in a list a block has is as good as random, and a branch on it would be
// mispredicted half of the time. So nothing here branches: the links of a neighbour that is not
// there are written to the sentinel, where nobody reads them.
static void bin_insert(struct pool *pool, struct pool_bins *bins, uint32_t number)
{
    struct node *node = node_at(pool, number);
    uint64_t granule_count = granule_count_of(node);
    uint32_t bin = bin_of(granule_count);
    uint32_t excess = excess_of(granule_count);
    struct pool_bin *list = &bins->bins[bin];
    node->bin_previous = SENTINEL;
    node->bin_next = list->first;
    node_at(pool, list->first)->bin_previous = number;
    list->first = number;
    list->excess_max = list->excess_max > excess ? list->excess_max : excess;
    bins->bin_bitmaps[bin / POOL_BINS_PER_LEVEL] |= UINT64_C(1) << bin % POOL_BINS_PER_LEVEL;
    bins->level_bitmap |= UINT64_C(1) << bin / POOL_BINS_PER_LEVEL;
}

static void bin_remove(struct pool *pool, struct pool_bins *bins, uint32_t number)
{
    const struct node *node = node_at(pool, number);
    uint32_t previous = node->bin_previous;
    uint32_t next = node->bin_next;
    uint32_t bin = bin_of(granule_count_of(node));
    uint32_t level = bin / POOL_BINS_PER_LEVEL;
    struct pool_bin *list = &bins->bins[bin];
    uint32_t first = list->first;
    first = previous == SENTINEL ? next : first;
    list->first = first;
    node_at(pool, previous)->bin_next = next;
    node_at(pool, next)->bin_previous = previous;
    uint32_t is_bin_empty = first == SENTINEL;
    list->excess_max &= is_bin_empty - 1; // 0 once it is empty
    uint64_t bitmap = bins->bin_bitmaps[level];
    bitmap &= ~((uint64_t)is_bin_empty << bin % POOL_BINS_PER_LEVEL);
    bins->bin_bitmaps[level] = bitmap;
    bins->level_bitmap &= ~((uint64_t)(bitmap == 0) << level);
}

// The middle is in no bin.
static void resize_free(struct pool *pool, struct pool_bins *bins, uint32_t number,
                        uint64_t granule_count)
{
    struct node *node = node_at(pool, number);
    if (number == MIDDLE) {
        node->extent = free_extent(granule_count);
        return;
    }
    bin_remove(pool, bins, number);
    node->extent = free_extent(granule_count);
    bin_insert(pool, bins, number);
}

// The first non-empty bin from this one on, or 0, which is never in use: no block in it is empty.
static uint32_t filled_bin_from(const struct pool_bins *bins, uint32_t bin)
{
    uint32_t level = bin / POOL_BINS_PER_LEVEL;
    uint64_t in_level = bins->bin_bitmaps[level] & (~UINT64_C(0) << bin % POOL_BINS_PER_LEVEL);
    if (in_level == 0) {
        uint64_t above = bins->level_bitmap & (~UINT64_C(1) << level);
        if (above == 0) return 0;
        level = (uint32_t)__builtin_ctzll(above);
        in_level = bins->bin_bitmaps[level];
    }
    return level * POOL_BINS_PER_LEVEL + (uint32_t)__builtin_ctzll(in_level);
}

// The smallest of the bin's first blocks that holds `granule_count`, or SENTINEL.
static uint32_t best_in_bin(const struct pool *pool, const struct pool_bin *bin,
                            uint64_t granule_count)
{
    uint32_t best = SENTINEL;
    uint64_t best_granule_count = UINT64_MAX;
    uint32_t number = bin->first;
    for (uint32_t i = 0; number != SENTINEL && i < FIT_SCAN_COUNT_MAX; i++) {
        const struct node *node = node_at(pool, number);
        uint64_t found = granule_count_of(node);
        if (found >= granule_count && found < best_granule_count) {
            best = number;
            best_granule_count = found;
            if (found == granule_count) break;
        }
        number = node->bin_next;
    }
    return best;
}

static inline uint32_t best_in_bins(const struct pool *pool, const struct pool_bins *bins,
                             uint64_t granule_count)
{
    if (bins->level_bitmap == 0) return SENTINEL;
    uint32_t own = bin_of(granule_count);
    uint32_t bin = filled_bin_from(bins, own);
    // The blocks of these bins are all of one size; and 0 stands for none.
    if (bin < 2 * POOL_BINS_PER_LEVEL) return bins->bins[bin].first;
    if (bin == own) {
        if (bins->bins[own].excess_max >= excess_of(granule_count)) {
            uint32_t best = best_in_bin(pool, &bins->bins[own], granule_count);
            if (best != SENTINEL) return best;
        }
        bin = filled_bin_from(bins, own + 1);
    }
    return best_in_bin(pool, &bins->bins[bin], granule_count);
}

// The largest block of a bin, which this puts first in its list, so that the next search for it
// is short.
static uint32_t largest_in_bin(struct pool *pool, struct pool_bins *bins, uint32_t bin)
{
    struct pool_bin *list = &bins->bins[bin];
    uint32_t largest = SENTINEL;
    uint64_t largest_granule_count = 0;
    for (uint32_t number = list->first; number != SENTINEL;
         number = node_at(pool, number)->bin_next) {
        uint64_t granule_count = granule_count_of(node_at(pool, number));
        if (granule_count <= largest_granule_count) continue;
        largest = number;
        largest_granule_count = granule_count;
        if (excess_of(granule_count) == list->excess_max && list->excess_max < UINT32_MAX) break;
    }
    if (largest == SENTINEL) return SENTINEL;
    bin_remove(pool, bins, largest);
    list->excess_max = excess_of(largest_granule_count);
    bin_insert(pool, bins, largest);
    return largest;
}

// For a request that nothing else serves: the largest block of its own bin, if that is enough.
static uint32_t last_in_bins(struct pool *pool, struct pool_bins *bins, uint64_t granule_count)
{
    uint32_t bin = bin_of(granule_count);
    if (bins->bins[bin].excess_max < excess_of(granule_count)) return SENTINEL;
    uint32_t largest = largest_in_bin(pool, bins, bin);
    bool is_enough =
        largest != SENTINEL && granule_count_of(node_at(pool, largest)) >= granule_count;
    return is_enough ? largest : SENTINEL;
}

static void count_live(struct pool *pool, uint64_t granule_count)
{
    pool->used_granule_count += granule_count;
    if (may_be_large(pool, granule_count)) {
        pool->large_granule_counts[level_of(granule_count)] += granule_count;
    }
}

static void uncount_live(struct pool *pool, uint64_t granule_count)
{
    pool->used_granule_count -= granule_count;
    if (may_be_large(pool, granule_count)) {
        pool->large_granule_counts[level_of(granule_count)] -= granule_count;
    }
}

// Where a request belongs: to the high side unless blocks of larger levels hold half of what is in
// use. So the sides come to share the live bytes evenly, whatever sizes a program asks for.
static enum side side_for(const struct pool *pool, uint64_t granule_count)
{
    if (!may_be_large(pool, granule_count)) return LOW;
    uint64_t larger_granule_count = 0;
    for (uint32_t level = level_of(pool->granule_count); level > level_of(granule_count); level--) {
        larger_granule_count += pool->large_granule_counts[level];
    }
    return 2 * larger_granule_count <= pool->used_granule_count ? HIGH : LOW;
}

// A free block that is large enough, and the side on which it lies, or to which what is cut off the
// middle will belong. SENTINEL if there is none.
static uint32_t find_fit(struct pool *pool, uint64_t granule_count, enum side *side)
{
    *side = side_for(pool, granule_count);
    uint32_t found = best_in_bins(pool, &pool->bins[*side], granule_count);
    if (found != SENTINEL) return found;
    if (granule_count_of(node_at(pool, MIDDLE)) >= granule_count) return MIDDLE;
    enum side own = *side;
    *side = own == LOW ? HIGH : LOW;
    found = best_in_bins(pool, &pool->bins[*side], granule_count);
    if (found != SENTINEL) return found;
    found = last_in_bins(pool, &pool->bins[*side], granule_count);
    if (found != SENTINEL) return found;
    *side = own;
    return last_in_bins(pool, &pool->bins[*side], granule_count);
}

static uint64_t largest_in_bins(struct pool *pool, struct pool_bins *bins)
{
    if (bins->level_bitmap == 0) return 0;
    uint32_t level = 63 - (uint32_t)__builtin_clzll(bins->level_bitmap);
    uint32_t index = 63 - (uint32_t)__builtin_clzll(bins->bin_bitmaps[level]);
    uint32_t largest = largest_in_bin(pool, bins, level * POOL_BINS_PER_LEVEL + index);
    return granule_count_of(node_at(pool, largest));
}

static uint64_t largest_free_granule_count(struct pool *pool)
{
    uint64_t largest = granule_count_of(node_at(pool, MIDDLE));
    for (enum side side = LOW; side <= HIGH; side++) {
        uint64_t in_side = largest_in_bins(pool, &pool->bins[side]);
        if (in_side > largest) largest = in_side;
    }
    return largest;
}

// ---- Index of live blocks by address

// Splits one bucket in two. Where the system refuses memory chains get longer, nothing else.
static void add_bucket(struct pool *pool)
{
    uint64_t added = pool->bucket_count;
    if (!metadata_array_ensure(&pool->buckets, (added + 1) * sizeof(uint32_t))) return;
    if (added == 2 * pool->bucket_mask + 2) pool->bucket_mask = 2 * pool->bucket_mask + 1;
    pool->bucket_count = added + 1;

    uint32_t *kept_link = bucket_at(pool, added & pool->bucket_mask);
    uint32_t *moved_link = bucket_at(pool, added);
    for (uint32_t number = *kept_link; number != SENTINEL;) {
        struct node *node = node_at(pool, number);
        uint32_t **link = bucket_of(pool, node->granule) == added ? &moved_link : &kept_link;
        **link = number;
        *link = &node->bucket_next;
        number = node->bucket_next;
    }
    *kept_link = SENTINEL;
    *moved_link = SENTINEL;
}

// At most one live block for two buckets: most chains have one link, and the walk no surprise.
static void index_insert(struct pool *pool, uint32_t number)
{
    if (2 * pool->live_block_count > pool->bucket_count) {
        add_bucket(pool);
        add_bucket(pool);
    }
    struct node *node = node_at(pool, number);
    uint32_t *head = bucket_at(pool, bucket_of(pool, node->granule));
    node->bucket_next = *head;
    node->retired_number = 0;
    *head = number;
}

// The link to the live block that starts at the granule; one to the SENTINEL if there is none.
HOT uint32_t *index_link(const struct pool *pool, uint64_t granule)
{
    uint32_t *link = bucket_at(pool, bucket_of(pool, granule));
    while (*link != SENTINEL && node_at(pool, *link)->granule != granule) {
        link = &node_at(pool, *link)->bucket_next;
    }
    return link;
}

// ---- Splitting and joining

static void link_between(struct pool *pool, uint32_t previous, uint32_t number, uint32_t next)
{
    struct node *node = node_at(pool, number);
    node->previous = previous;
    node->next = next;
    node_at(pool, previous)->next = number;
    node_at(pool, next)->previous = number;
}

static void unlink_and_give_back(struct pool *pool, uint32_t number)
{
    struct node *node = node_at(pool, number);
    node_at(pool, node->previous)->next = node->next;
    node_at(pool, node->next)->previous = node->previous;
    give_node_back(pool, number);
}

// Cuts a live block off a free one that is larger, or off the middle: at the end that is further
// from the middle, or that touches the side. SENTINEL where the system refuses memory.
static uint32_t split(struct pool *pool, enum side side, uint32_t rest_number,
                      uint64_t granule_count)
{
    uint32_t number = take_node(pool);
    if (number == SENTINEL) return SENTINEL;
    struct node *rest = node_at(pool, rest_number);
    struct node *node = node_at(pool, number);
    uint64_t rest_granule_count = granule_count_of(rest) - granule_count;
    node->extent = live_extent(granule_count);
    if (side == LOW) {
        node->granule = rest->granule;
        rest->granule += granule_count;
        link_between(pool, rest->previous, number, rest_number);
    } else {
        node->granule = rest->granule + rest_granule_count;
        link_between(pool, rest_number, number, rest->next);
    }
    resize_free(pool, &pool->bins[side], rest_number, rest_granule_count);
    return number;
}

// The free neighbours are joined to the block's node, which gets its place in a bin, or to the
// middle. The block is no longer in the index.
HOT void make_free(struct pool *pool, uint32_t number)
{
    struct node *node = node_at(pool, number);
    uint32_t previous_number = node->previous;
    uint32_t next_number = node->next;
    struct node *previous = node_at(pool, previous_number);
    struct node *next = node_at(pool, next_number);
    uint64_t granule_count = granule_count_of(node);
    bool joins_previous = !is_live(previous);
    bool joins_next = !is_live(next);

    // What was cut off the middle last is often what is freed first.
    if (next_number == MIDDLE && !joins_previous) {
        next->granule = node->granule;
        next->extent += free_extent(granule_count);
        unlink_and_give_back(pool, number);
        return;
    }
    struct pool_bins *bins = &pool->bins[side_of(pool, node)];
    if (!joins_previous && !joins_next) {
        node->extent = free_extent(granule_count);
        bin_insert(pool, bins, number);
        return;
    }
    unlink_and_give_back(pool, number);
    if (joins_previous && joins_next) {
        // One of the two free neighbours goes too, never the middle.
        uint32_t kept_number = next_number == MIDDLE ? MIDDLE : previous_number;
        uint32_t gone_number = next_number == MIDDLE ? previous_number : next_number;
        struct node *kept = node_at(pool, kept_number);
        uint64_t joined_count =
            granule_count_of(previous) + granule_count + granule_count_of(next);
        kept->granule = previous->granule;
        bin_remove(pool, bins, gone_number);
        unlink_and_give_back(pool, gone_number);
        resize_free(pool, bins, kept_number, joined_count);
    } else if (joins_previous) {
        resize_free(pool, bins, previous_number, granule_count_of(previous) + granule_count);
    } else {
        next->granule = node->granule;
        resize_free(pool, bins, next_number, granule_count_of(next) + granule_count);
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
    uint64_t node_count =
        granule_count < NODE_COUNT_MAX - 2 ? granule_count + 2 : NODE_COUNT_MAX;
    uint64_t bucket_count = 2 * node_count + BUCKET_COUNT_AT_OPEN;
    if (!metadata_array_reserve(&pool->nodes, node_count * sizeof(struct node))) return false;
    pool->nodes.huge_from_byte_size = huge_pages_from(granule_count);
    bool is_reserved = metadata_array_reserve(&pool->buckets, bucket_count * sizeof(uint32_t));
    pool->buckets.huge_from_byte_size = huge_pages_from(granule_count);
    if (is_reserved &&
        metadata_array_grow(&pool->nodes, 2 * sizeof(struct node)) &&
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
    pool->node_count = MIDDLE + 1;
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
    enum pool_status status = pool->generation != 0
                                  ? POOL_BAD_RANGE
                                  : open_locked(pool, base, granule_count);
    lock_release(&pool->lock);
    return status;
}

void pool_close(struct pool *pool)
{
    lock_acquire(&pool->lock);
    pool->generation = 0;
    metadata_array_release(&pool->nodes);
    metadata_array_release(&pool->buckets);
    lock_release(&pool->lock);
}

// ---- Requests

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

HOT enum pool_status alloc_locked(struct pool *pool, uint64_t granule_count,
                                     struct pool_block *block)
{
    if (pool->generation == 0) return POOL_CLOSED;
    // A size that no pool can have has no bin either.
    if (granule_count > pool->granule_count) return POOL_FULL;
    enum side side;
    uint32_t number = find_fit(pool, granule_count, &side);
    if (number == SENTINEL) return POOL_FULL;
    struct node *node = node_at(pool, number);
    if (number != MIDDLE && granule_count_of(node) == granule_count) {
        bin_remove(pool, &pool->bins[side], number);
        node->extent = live_extent(granule_count);
    } else {
        number = split(pool, side, number, granule_count);
        if (number == SENTINEL) return POOL_OUT_OF_METADATA;
        node = node_at(pool, number);
    }
    pool->live_block_count++;
    index_insert(pool, number);
    count_live(pool, granule_count);
    if (pool->used_granule_count > pool->peak_used_granule_count) {
        pool->peak_used_granule_count = pool->used_granule_count;
    }
    block->address = pool->base + node->granule * POOL_GRANULE_BYTE_SIZE;
    block->generation = pool->generation;
    return POOL_OK;
}

enum pool_status pool_alloc(struct pool *pool, uint64_t byte_size, struct pool_block *block,
                            struct pool_stats *full)
{
    if (byte_size == 0) return POOL_BAD_RANGE;
    uint64_t granule_count = (byte_size - 1) / POOL_GRANULE_BYTE_SIZE + 1;
    lock_acquire(&pool->lock);
    enum pool_status status = alloc_locked(pool, granule_count, block);
    if (__builtin_expect(status == POOL_FULL || status == POOL_OUT_OF_METADATA, 0)) {
        if (full != NULL) {
            pool->failed_allocation_count++;
            read_stats_locked(pool, full);
        }
    }
    lock_release(&pool->lock);
    return status;
}

// The link to the live block at the address.
HOT enum pool_status find_live(const struct pool *pool, uint64_t address, uint64_t generation,
                                  uint32_t **link)
{
    if (pool->generation == 0) return POOL_CLOSED;
    if (generation != 0 && generation != pool->generation) return POOL_CLOSED;
    uint64_t offset = address - pool->base; // wraps to a huge one below the base
    uint64_t granule = offset / POOL_GRANULE_BYTE_SIZE;
    if (granule >= pool->granule_count || offset % POOL_GRANULE_BYTE_SIZE != 0) {
        return POOL_NOT_ALLOCATED;
    }
    *link = index_link(pool, granule);
    return **link == SENTINEL ? POOL_NOT_ALLOCATED : POOL_OK;
}

// The same of one that is neither retired nor lent.
HOT enum pool_status find_owned(const struct pool *pool, uint64_t address, uint64_t generation,
                                   uint32_t **link)
{
    enum pool_status status = find_live(pool, address, generation, link);
    if (status != POOL_OK) return status;
    uint32_t retired_number = node_at(pool, **link)->retired_number;
    if (__builtin_expect(retired_number == 0, 1)) return POOL_OK;
    return retired_number == LENT ? POOL_LENT : POOL_NOT_ALLOCATED;
}

static enum pool_status find_retired(const struct pool *pool, uint64_t address,
                                     uint64_t generation, uint32_t **link)
{
    enum pool_status status = find_live(pool, address, generation, link);
    if (status != POOL_OK) return status;
    return is_retired(node_at(pool, **link)) ? POOL_OK : POOL_NOT_ALLOCATED;
}

// The link leads to the block.
HOT void free_live(struct pool *pool, uint32_t *link)
{
    uint32_t number = *link;
    *link = node_at(pool, number)->bucket_next;
    pool->live_block_count--;
    uncount_live(pool, granule_count_of(node_at(pool, number)));
    make_free(pool, number);
}

enum pool_status pool_free(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    uint32_t *link;
    enum pool_status status = find_owned(pool, address, generation, &link);
    if (__builtin_expect(status == POOL_OK, 1)) free_live(pool, link);
    lock_release(&pool->lock);
    return status;
}

// ---- Retired and lent blocks

enum pool_status pool_retire(struct pool *pool, uint64_t address, uint64_t generation,
                             uint32_t number, uint64_t *block_byte_size)
{
    lock_acquire(&pool->lock);
    uint32_t *link;
    enum pool_status status = find_owned(pool, address, generation, &link);
    if (status == POOL_LENT) status = POOL_OK;
    if (status == POOL_OK) {
        struct node *node = node_at(pool, *link);
        node->retired_number = number;
        *block_byte_size = granule_count_of(node) * POOL_GRANULE_BYTE_SIZE;
    }
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_free_retired(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    uint32_t *link;
    enum pool_status status = find_retired(pool, address, generation, &link);
    if (status == POOL_OK) free_live(pool, link);
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_lend(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    uint32_t *link;
    enum pool_status status = find_retired(pool, address, generation, &link);
    if (status == POOL_OK) node_at(pool, *link)->retired_number = LENT;
    lock_release(&pool->lock);
    return status;
}

enum pool_status pool_end_loan(struct pool *pool, uint64_t address, uint64_t generation)
{
    lock_acquire(&pool->lock);
    uint32_t *link;
    enum pool_status status = find_owned(pool, address, generation, &link);
    if (status == POOL_LENT) {
        node_at(pool, *link)->retired_number = 0;
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
    uint32_t *link;
    bool is_lent = find_owned(pool, address, generation, &link) == POOL_LENT;
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
    uint32_t *link;
    if (find_retired(pool, address, 0, &link) == POOL_OK) {
        const struct node *retired = node_at(pool, *link);
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
    bool contains = pool->generation != 0 &&
                    address - pool->base < pool->granule_count * POOL_GRANULE_BYTE_SIZE;
    lock_release(&pool->lock);
    return contains;
}
