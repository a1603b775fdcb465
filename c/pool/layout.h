// How a pool lays out its tables: for the files of this folder, and for tests of them.
#ifndef POOL_LAYOUT_H
#define POOL_LAYOUT_H

#include "pool/pool.h"

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
struct node {
    uint64_t granule; // the first, counted from the pool's base
    // The granule count * 2, and 1 more while the block is live. One word, always written and read
    // whole: a bit field would be written as a byte and then read as a word, which stalls the
    // processor.
    uint64_t extent;
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

static inline struct node *node_at(const struct pool *pool, uint32_t number)
{
    return (struct node *)(void *)(pool->nodes.base + (size_t)number * WORD_BYTE_SIZE);
}

static inline bool is_live(const struct node *node)
{
    return node->extent & 1;
}

static inline uint64_t free_extent(uint64_t granule_count)
{
    return granule_count << 1;
}

static inline uint64_t live_extent(uint64_t granule_count)
{
    return granule_count << 1 | 1;
}

static inline uint64_t granule_count_of(const struct node *node)
{
    return node->extent >> 1;
}

// ---- Bins

enum side { LOW, HIGH };

// The blocks of a bin below ONE_SIZE_BINS_END have as many granules as its number says.
enum {
    ONE_SIZE_BITS = 10,
    ONE_SIZE_BINS_END = 1 << ONE_SIZE_BITS,
    ONE_SIZE_BITMAP_COUNT = ONE_SIZE_BINS_END / POOL_BINS_PER_BITMAP,
};

static inline bool has_one_size(uint32_t bin)
{
    return bin < ONE_SIZE_BINS_END;
}

static inline uint32_t highest_bit_of(uint64_t word)
{
    return 63 ^ (uint32_t)__builtin_clzll(word); // one instruction
}

// Bins are numbered from 1 on, so that 0 can stand for none. Above the bins of one size every power of
// two has as many bins as a bitmap marks: the six bits below the highest one tell which.
static inline uint32_t bin_of(uint64_t granule_count)
{
    if (granule_count < ONE_SIZE_BINS_END) return (uint32_t)granule_count;
    uint32_t highest_bit = highest_bit_of(granule_count);
    uint32_t bitmap = ONE_SIZE_BITMAP_COUNT + highest_bit - ONE_SIZE_BITS;
    uint64_t six_bits = (granule_count >> (highest_bit - 6)) % POOL_BINS_PER_BITMAP;
    return bitmap * POOL_BINS_PER_BITMAP + (uint32_t)six_bits;
}

static inline enum side side_of(const struct pool *pool, const struct node *node)
{
    return node->granule < node_at(pool, WILDERNESS)->granule ? LOW : HIGH;
}

// ---- Large blocks

// The power of two of a block's size, from 0 for fewer than 64 granules.
static inline uint32_t level_of(uint64_t granule_count)
{
    return highest_bit_of(granule_count | 32) - 5;
}

static inline bool may_be_large(const struct pool *pool, uint64_t granule_count)
{
    return granule_count >= pool->large_granule_count_min;
}

// ---- Index

static inline uint32_t *bucket_at(const struct pool *pool, uint64_t bucket)
{
    return (uint32_t *)(void *)pool->buckets.base + bucket;
}

// Linear hashing: of the buckets beyond bucket_mask only those below bucket_count exist. A block
// whose bucket does not exist is still in the bucket that has not been split yet.
static inline uint64_t bucket_of(const struct pool *pool, uint64_t granule)
{
    // MurmurHash3's finalizer without its first and last steps. One multiplication alone would put
    // some regular sequences of addresses, such as blocks of one size make, into a few buckets.
    uint64_t hash = granule * UINT64_C(0xFF51AFD7ED558CCD);
    hash ^= hash >> 33;
    hash = hash * UINT64_C(0xC4CEB9FE1A85EC53) >> 33;
    uint64_t bucket = hash & (2 * pool->bucket_mask + 1);
    uint64_t exists = bucket < pool->bucket_count;
    return bucket & (pool->bucket_mask | -exists); // no branch: it would be as good as random
}

#endif
