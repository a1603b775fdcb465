// The live blocks of a pool by address, in a hash table. Part of pool.c.
#ifndef POOL_INDEX_H
#define POOL_INDEX_H

#include "pool/inline.h"
#include "pool/tables.h"

enum { BUCKET_COUNT_AT_OPEN = 1024 };

// Splits one bucket in two. Where the system refuses memory, chains get longer, and nothing else
// happens.
NOINLINE void add_bucket(struct pool *pool)
{
    uint64_t added = pool->bucket_count;
    if (!metadata_array_ensure(&pool->buckets, (added + 1) * sizeof(uint32_t))) return;
    if (added == 2 * pool->bucket_mask + 2) pool->bucket_mask = 2 * pool->bucket_mask + 1;
    pool->bucket_count = added + 1;

    uint32_t *kept_link = bucket_at(pool, added & pool->bucket_mask);
    uint32_t *moved_link = bucket_at(pool, added);
    for (uint32_t number = *kept_link; number != SENTINEL;) {
        struct node *node = node_at(pool, number);
        uint32_t **link = bucket_of(pool, granule_of(node)) == added ? &moved_link : &kept_link;
        **link = number;
        *link = &node->bucket_next;
        number = node->bucket_next;
    }
    *kept_link = SENTINEL;
    *moved_link = SENTINEL;
}

// Keeps at least two buckets for each live block, so that most chains have one link, and the
// processor predicts the walk.
ALWAYS_INLINE void index_insert(struct pool *pool, uint32_t number, uint32_t owner)
{
    if (__builtin_expect(2 * pool->live_block_count > pool->bucket_count, 0)) {
        add_bucket(pool);
        add_bucket(pool);
    }
    struct node *node = node_at(pool, number);
    assert(is_live(node) && owner_of(node) == 0);
    uint32_t *head = bucket_at(pool, bucket_of(pool, node->place));
    node->place = owned_place(node->place, owner);
    node->bucket_next = *head;
    node->tag = 0;
    *head = number;
}

// A live block and the link that leads to it in the index.
struct indexed {
    uint32_t number;
    uint32_t *link;
};

// Finds the live block that starts at the granule and belongs to the owner; its number is SENTINEL
// where there is none. The owner costs no branch of its own.
ALWAYS_INLINE struct indexed index_find(const struct pool *pool, uint64_t granule, uint32_t owner)
{
    bool is_any = owner == POOL_ANY_OWNER;
    uint64_t place = is_any ? granule : owned_place(granule, owner);
    uint64_t mask = is_any ? without_upper_bits(UINT64_MAX) : UINT64_MAX;
    uint32_t *link = bucket_at(pool, bucket_of(pool, granule));
    uint32_t number = *link;
    while (number != SENTINEL && (node_at(pool, number)->place & mask) != place) {
        link = &node_at(pool, number)->bucket_next;
        number = *link;
    }
    return (struct indexed){number, link};
}

#endif
