// The free blocks of a pool's side by size, each bin with a list of its own. Part of pool.c.
#ifndef POOL_BINS_H
#define POOL_BINS_H

#include "pool/inline.h"
#include "pool/tables.h"

// Looking at more blocks of a bin than this for a better fit gains less than it costs.
enum { FIT_SCAN_COUNT_MAX = 4 };

// A granule count as a bin's bound has it.
static uint32_t bound_of(uint64_t granule_count)
{
    return granule_count < UINT32_MAX ? (uint32_t)granule_count : UINT32_MAX;
}

// Whether a block has neighbours in its list is as good as random, and a branch on it would be
// mispredicted half of the time. So nothing here branches on that: the links of a neighbour that is
// not there are written to the sentinel, where nobody reads them.

// Makes the block the bin's first. Returns the number of the one that was first before.
ALWAYS_INLINE uint32_t bin_link_first(struct pool *pool, struct pool_bins *bins, uint32_t bin,
                                      uint32_t number)
{
    uint32_t first = bins->first[bin];
    node_at(pool, number)->bin_next = first;
    node_at(pool, first)->bin_previous = number;
    bins->first[bin] = number;
    return first;
}

ALWAYS_INLINE void bin_insert(struct pool *pool, struct pool_bins *bins, uint32_t number,
                              uint64_t granule_count)
{
    uint32_t bin = bin_of(granule_count);
    assert(bin != 0 && bin < POOL_BIN_COUNT && number != WILDERNESS);
    assert(node_at(pool, number)->extent == free_extent(granule_count));
    uint32_t first = bin_link_first(pool, bins, bin, number);
    if (!has_one_size(bin)) {
        uint32_t max = first == SENTINEL ? 0 : bins->granule_count_max[bin];
        uint32_t bound = bound_of(granule_count);
        bins->granule_count_max[bin] = max > bound ? max : bound;
    }
    uint32_t bitmap = bin / POOL_BINS_PER_BITMAP;
    bins->bitmaps[bitmap] |= UINT64_C(1) << bin % POOL_BINS_PER_BITMAP;
    bins->filled_bitmaps |= UINT64_C(1) << bitmap;
}

ALWAYS_INLINE void bin_set_first(struct pool_bins *bins, uint32_t bin, uint32_t first)
{
    uint64_t is_empty = first == SENTINEL;
    bins->first[bin] = first;
    uint64_t bitmap = bins->bitmaps[bin / POOL_BINS_PER_BITMAP];
    bitmap &= ~(is_empty << bin % POOL_BINS_PER_BITMAP);
    bins->bitmaps[bin / POOL_BINS_PER_BITMAP] = bitmap;
    bins->filled_bitmaps &= ~((uint64_t)(bitmap == 0) << bin / POOL_BINS_PER_BITMAP);
}

ALWAYS_INLINE void bin_remove_first(struct pool *pool, struct pool_bins *bins, uint32_t bin)
{
    assert(bins->first[bin] != SENTINEL);
    bin_set_first(bins, bin, node_at(pool, bins->first[bin])->bin_next);
}

ALWAYS_INLINE void bin_remove(struct pool *pool, struct pool_bins *bins, uint32_t bin,
                              uint32_t number)
{
    const struct node *node = node_at(pool, number);
    assert(!is_live(node) && bins->first[bin] != SENTINEL);
    uint32_t previous = node->bin_previous;
    uint32_t next = node->bin_next;
    uint32_t first = bins->first[bin];
    uint32_t unless_first = -(uint32_t)(first != number);
    node_at(pool, previous & unless_first)->bin_next = next;
    node_at(pool, next & unless_first)->bin_previous = previous;
    bin_set_first(bins, bin, next ^ ((next ^ first) & unless_first));
}

// The first bin from this one on that has blocks, or 0.
ALWAYS_INLINE uint32_t filled_bin_from(const struct pool_bins *bins, uint32_t bin)
{
    uint32_t bitmap = bin / POOL_BINS_PER_BITMAP;
    uint64_t marked = bins->bitmaps[bitmap] & (~UINT64_C(0) << bin % POOL_BINS_PER_BITMAP);
    if (marked == 0) {
        uint64_t above = bins->filled_bitmaps & (~UINT64_C(1) << bitmap);
        if (above == 0) return 0;
        bitmap = (uint32_t)__builtin_ctzll(above);
        marked = bins->bitmaps[bitmap];
    }
    return bitmap * POOL_BINS_PER_BITMAP + (uint32_t)__builtin_ctzll(marked);
}

// A bin whose first block is large enough for a request. Bin number 0 stands for none.
struct fit {
    uint32_t bin;
    uint64_t granule_count;
};

static const struct fit no_fit = {0, 0};

static void put_first(struct pool *pool, struct pool_bins *bins, uint32_t bin, uint32_t number)
{
    if (number == bins->first[bin]) return;
    const struct node *node = node_at(pool, number);
    node_at(pool, node->bin_previous)->bin_next = node->bin_next;
    node_at(pool, node->bin_next)->bin_previous = node->bin_previous;
    bin_link_first(pool, bins, bin, number);
}

// Of the bin's first blocks that have at least `granule_count` granules, puts the smallest first.
static struct fit best_in_bin(struct pool *pool, struct pool_bins *bins, uint32_t bin,
                              uint64_t granule_count)
{
    uint32_t best = SENTINEL;
    uint64_t best_granule_count = UINT64_MAX;
    uint32_t number = bins->first[bin];
    for (uint32_t i = 0; number != SENTINEL && i < FIT_SCAN_COUNT_MAX; i++) {
        const struct node *node = node_at(pool, number);
        uint64_t found = free_granule_count_of(node);
        if (found >= granule_count && found < best_granule_count) {
            best = number;
            best_granule_count = found;
            if (found == granule_count) break;
        }
        number = node->bin_next;
    }
    if (best == SENTINEL) return no_fit;
    put_first(pool, bins, bin, best);
    return (struct fit){bin, best_granule_count};
}

// Looks in the first bin from this one on that has blocks and may serve the request.
NOINLINE struct fit best_in_mixed_bins(struct pool *pool, struct pool_bins *bins, uint32_t bin,
                                       uint64_t granule_count)
{
    uint32_t own = bin_of(granule_count);
    if (bin == own) {
        if (bins->granule_count_max[own] >= bound_of(granule_count)) {
            struct fit best = best_in_bin(pool, bins, own, granule_count);
            if (best.bin != 0) return best;
        }
        bin = filled_bin_from(bins, own + 1);
    }
    return best_in_bin(pool, bins, bin, granule_count);
}

ALWAYS_INLINE struct fit best_in_bins(struct pool *pool, struct pool_bins *bins,
                                      uint64_t granule_count)
{
    uint32_t bin = filled_bin_from(bins, bin_of(granule_count));
    if (has_one_size(bin)) return (struct fit){bin, bin};
    return best_in_mixed_bins(pool, bins, bin, granule_count);
}

// Puts the largest block of a bin first, so that the next search for it is short.
static struct fit largest_in_bin(struct pool *pool, struct pool_bins *bins, uint32_t bin)
{
    if (has_one_size(bin)) return bins->first[bin] == SENTINEL ? no_fit : (struct fit){bin, bin};
    uint32_t largest = SENTINEL;
    uint64_t largest_granule_count = 0;
    for (uint32_t number = bins->first[bin]; number != SENTINEL;
         number = node_at(pool, number)->bin_next) {
        uint64_t granule_count = free_granule_count_of(node_at(pool, number));
        if (granule_count <= largest_granule_count) continue;
        largest = number;
        largest_granule_count = granule_count;
        if (granule_count == bins->granule_count_max[bin] && granule_count < UINT32_MAX) break;
    }
    if (largest == SENTINEL) return no_fit;
    put_first(pool, bins, bin, largest);
    bins->granule_count_max[bin] = bound_of(largest_granule_count);
    return (struct fit){bin, largest_granule_count};
}

// Looks at the whole of the request's own bin for its largest block, as the last resort of a request
// that nothing else serves.
static struct fit last_resort_in_bins(struct pool *pool, struct pool_bins *bins,
                                      uint64_t granule_count)
{
    uint32_t bin = bin_of(granule_count);
    if (has_one_size(bin) || bins->first[bin] == SENTINEL ||
        bins->granule_count_max[bin] < bound_of(granule_count)) {
        return no_fit;
    }
    struct fit largest = largest_in_bin(pool, bins, bin);
    return largest.granule_count >= granule_count ? largest : no_fit;
}

static uint64_t largest_in_bins(struct pool *pool, struct pool_bins *bins)
{
    if (bins->filled_bitmaps == 0) return 0;
    uint32_t bitmap = highest_bit_of(bins->filled_bitmaps);
    uint32_t index = highest_bit_of(bins->bitmaps[bitmap]);
    return largest_in_bin(pool, bins, bitmap * POOL_BINS_PER_BITMAP + index).granule_count;
}

#endif
