// How a pool lays out what it knows. All of it is private to this folder and to tests of it; pool.h
// includes it because a pool's owner gives it its place in memory.
#ifndef POOL_LAYOUT_H
#define POOL_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/account.h"
#include "pool/lock.h"
#include "pool/metadata_array.h"

enum { POOL_GRANULE_BYTE_SIZE = 512 };

// The most granules of a pool: 2^53 bytes, up to which a double has every whole number.
#define POOL_GRANULE_COUNT_MAX (UINT64_C(1) << 44)

_Static_assert(POOL_GRANULE_COUNT_MAX *POOL_GRANULE_BYTE_SIZE == UINT64_C(1) << 53,
               "a double has every size in a pool exactly");

enum {
    POOL_BINS_PER_BITMAP = 64,
    // 16 for the bins of one size each, and one for every power of two from 2^10 to 2^44 granules.
    POOL_BIN_BITMAP_COUNT = 51,
    POOL_BIN_COUNT = POOL_BIN_BITMAP_COUNT * POOL_BINS_PER_BITMAP,
    // Level 0 is that of blocks below 64 granules; every power of two from there on has its own.
    POOL_LARGE_LEVEL_COUNT = 40,
};

// ---- Blocks

enum {
    POOL_OWNER_MAX = 65535,
    POOL_ANY_OWNER, // as the owner of a call that is for blocks of all of them
    // The owner and the account of a live block are the 16 upper bits of a word each.
    POOL_OWNER_SHIFT = 48,
    POOL_ACCOUNT_SHIFT = 48,
};

_Static_assert(POOL_GRANULE_COUNT_MAX <= UINT64_C(1) << (POOL_OWNER_SHIFT - 2),
               "a granule count * 2 + 1 leaves the upper bits free");

// A node's number counts 8-byte words from the first node. So turning it into an address is part of
// an x86 instruction's addressing, and 32 bits still reach 2^30 nodes.
enum {
    WORD_BYTE_SIZE = 8,
    NODE_WORD_COUNT = 4,
    SENTINEL = 0,
    WILDERNESS = NODE_WORD_COUNT,
};

// A block. Neighbours by address form a ring that the sentinel, node 0, closes: it stands before
// the lowest and after the highest block, and counts as live, so that nothing coalesces with it. The
// wilderness is a free block that is in no bin and may be empty.
//
// The first two members have a number in their upper bits that only a live block has. Both are
// words that are always written and read whole: a bit field would be written in part and then read
// as a word, which stalls the processor.
struct node {
    uint64_t place;  // the first granule, counted from the pool's base; and above that the owner
    uint64_t extent; // 1 for a live block, + the granule count * 2; and above that the account
    uint32_t address_previous;
    uint32_t address_next;
    union {
        struct {
            uint32_t bin_previous; // of no meaning for the first of its bin
            uint32_t bin_next;
        };
        struct { // while live
            uint32_t bucket_next;
            uint32_t tag;
        };
        uint32_t spare_next; // while on the stack of spare nodes
    };
};

_Static_assert(sizeof(struct node) == NODE_WORD_COUNT * WORD_BYTE_SIZE,
               "numbers count its words, and two nodes fill a cache line");

// ---- The pool

// The free blocks of one side, by size.
struct pool_bins {
    uint64_t filled_bitmaps;                 // which of the bitmaps are not 0
    uint64_t bitmaps[POOL_BIN_BITMAP_COUNT]; // which of the bins have blocks
    uint32_t first[POOL_BIN_COUNT];
    // No block of the bin has more granules; for bins with blocks of several sizes only. The bound
    // may be too high after blocks were removed. UINT32_MAX is no bound.
    uint32_t granule_count_max[POOL_BIN_COUNT];
};

// A zeroed pool is a valid, closed one.
struct pool {
    struct lock lock;
    uint32_t spare_node;  // a stack of node numbers that were given back
    uint32_t unused_node; // the first that was never used
    uint64_t base;
    uint64_t generation;    // 0 while closed; unique to each opening of any pool
    uint64_t granule_count; // 0 while closed, so that nothing is found
    // The same, but 0 while refusing, or awaited, so that nothing fits.
    uint64_t servable_granule_count;
    uint64_t used_granule_count;
    uint64_t peak_used_granule_count;
    uint64_t live_block_count;
    uint64_t failed_allocation_count;

    uint64_t large_granule_count_min;
    // Live granules of the blocks that may be large, by the power of two of their size.
    uint64_t large_granule_counts[POOL_LARGE_LEVEL_COUNT];

    struct metadata_array nodes;

    struct metadata_array buckets;
    uint64_t bucket_count;
    uint64_t bucket_mask; // 2^n - 1, where bucket_mask < bucket_count <= 2 * bucket_mask + 2

    struct pool_bins bins[2]; // by side

    bool is_refusing;
    bool is_awaited;
    struct account_usages account_usages; // stays when the pool is closed
};

#endif
