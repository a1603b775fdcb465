// Finding one's way in a pool's tables: for the files of this folder, and for tests of them.
#ifndef POOL_TABLES_H
#define POOL_TABLES_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/layout.h"

// ---- Blocks

static inline struct node *node_at(const struct pool *pool, uint32_t number)
{
    assert(number % NODE_WORD_COUNT == 0);
    return (struct node *)(void *)(pool->nodes.base + (size_t)number * WORD_BYTE_SIZE);
}

static inline bool is_live(const struct node *node)
{
    return node->extent & 1;
}

static inline uint64_t without_upper_bits(uint64_t word)
{
    return word & ((UINT64_C(1) << POOL_OWNER_SHIFT) - 1);
}

static inline uint64_t granule_of(const struct node *node)
{
    return without_upper_bits(node->place);
}

// 0 where the block is not live.
static inline uint32_t owner_of(const struct node *node)
{
    return (uint32_t)(node->place >> POOL_OWNER_SHIFT);
}

static inline uint64_t owned_place(uint64_t granule, uint32_t owner)
{
    return granule | (uint64_t)owner << POOL_OWNER_SHIFT;
}

// 0 where the block is not live.
static inline uint32_t account_of(const struct node *node)
{
    return (uint32_t)(node->extent >> POOL_ACCOUNT_SHIFT);
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
    return without_upper_bits(node->extent) >> 1;
}

// Of a live block, whose size the caller knows: to read back a word that was stored just now would stall.
static inline void set_account(struct node *node, uint64_t granule_count, uint32_t account)
{
    assert(is_live(node) && granule_count_of(node) == granule_count);
    node->extent = live_extent(granule_count) | (uint64_t)account << POOL_ACCOUNT_SHIFT;
}

// The same, of a block that is known to be free.
static inline uint64_t free_granule_count_of(const struct node *node)
{
    assert(!is_live(node) && node->extent == without_upper_bits(node->extent));
    return node->extent >> 1;
}

// ---- Bins

enum side { LOW, HIGH };

// The blocks of a bin below ONE_SIZE_BINS_END have as many granules as its number says.
enum {
    ONE_SIZE_BITS = 10,
    ONE_SIZE_BINS_END = 1 << ONE_SIZE_BITS,
    ONE_SIZE_BITMAP_COUNT = ONE_SIZE_BINS_END / POOL_BINS_PER_BITMAP,
    GRANULE_COUNT_BITS_MAX = 44, // the highest bit of POOL_GRANULE_COUNT_MAX
    LEVEL_BITS = 5,              // level 0 ends below 2^(LEVEL_BITS + 1) granules
};

_Static_assert(POOL_GRANULE_COUNT_MAX == UINT64_C(1) << GRANULE_COUNT_BITS_MAX,
               "the highest bit is that of the largest pool");
_Static_assert(POOL_BIN_BITMAP_COUNT ==
                   ONE_SIZE_BITMAP_COUNT + GRANULE_COUNT_BITS_MAX - ONE_SIZE_BITS + 1,
               "the largest block has a bin");
_Static_assert(POOL_BIN_BITMAP_COUNT <= 64 && POOL_BINS_PER_BITMAP == 64,
               "a word marks the bitmaps, and a word marks the bins of each");
_Static_assert(POOL_LARGE_LEVEL_COUNT == GRANULE_COUNT_BITS_MAX - LEVEL_BITS + 1,
               "the largest block has a level");

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

// The side of a block without an owner.
static inline enum side side_of(const struct pool *pool, const struct node *node)
{
    assert(owner_of(node) == 0);
    return node->place < node_at(pool, WILDERNESS)->place ? LOW : HIGH;
}

// ---- Large blocks

// The power of two of a block's size, from 0 for fewer than 64 granules.
static inline uint32_t level_of(uint64_t granule_count)
{
    return highest_bit_of(granule_count | UINT64_C(1) << LEVEL_BITS) - LEVEL_BITS;
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
