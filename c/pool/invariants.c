// The invariants of a pool, checked by a walk over all of it. In checking builds only.

#include <stddef.h>
#include <string.h>

#include "pool/pool.h"
#include "pool/tables.h"

#ifndef NDEBUG

// What the walk over all blocks in the order of their addresses finds.
struct found {
    uint64_t free_block_counts[2]; // by side
    uint64_t owned_block_count;    // by others than owner 0
    uint64_t large_granule_counts[POOL_LARGE_LEVEL_COUNT];
};

static const char *broken_in_address_order(const struct pool *pool, struct found *found)
{
    bool has_wilderness = false;
    uint64_t granule = 0, used_granule_count = 0, live_block_count = 0;
    bool previous_is_live = true;
    uint32_t previous = SENTINEL;
    *found = (struct found){0};
    uint32_t number = node_at(pool, SENTINEL)->address_next;
    for (; number != SENTINEL; number = node_at(pool, number)->address_next) {
        const struct node *node = node_at(pool, number);
        if (node->address_previous != previous) return "neighbours agree on each other";
        if (granule_of(node) != granule) return "blocks follow each other without gap or overlap";
        if (granule_count_of(node) == 0 && number != WILDERNESS)
            return "only the wilderness may be empty";
        if (!is_live(node) && !previous_is_live) return "no two free blocks are neighbours";
        if (is_live(node)) {
            live_block_count++;
            found->owned_block_count += owner_of(node) != 0;
            used_granule_count += granule_count_of(node);
            if (may_be_large(pool, granule_count_of(node))) {
                found->large_granule_counts[level_of(granule_count_of(node))] +=
                    granule_count_of(node);
            }
            uint32_t indexed = *bucket_at(pool, bucket_of(pool, granule));
            while (indexed != number && indexed != SENTINEL) {
                indexed = node_at(pool, indexed)->bucket_next;
            }
            if (indexed != number) return "every live block is in the index";
        } else if (owner_of(node) != 0 || account_of(node) != 0) {
            return "only a live block has an owner and an account";
        } else if (number == WILDERNESS) {
            has_wilderness = true;
        } else {
            ++found->free_block_counts[has_wilderness ? HIGH : LOW];
        }
        granule += granule_count_of(node);
        previous_is_live = is_live(node);
        previous = number;
    }
    if (!has_wilderness) return "the wilderness is between the sides";
    if (granule != pool->granule_count) return "the blocks fill the pool";
    if (used_granule_count != pool->used_granule_count) return "the used size is exact";
    if (live_block_count != pool->live_block_count) return "the number of live blocks is exact";
    if (memcmp(found->large_granule_counts, pool->large_granule_counts,
               sizeof found->large_granule_counts) != 0) {
        return "the sizes of large live blocks are exact";
    }
    return NULL;
}

// What an account has is what its blocks have, in the pool's table and in all pools together at least.
static const char *broken_in_account(const struct pool *pool, uint32_t account)
{
    struct account_usage usage;
    account_usage_read(&pool->account_usages, account_key(account), &usage);
    uint64_t granule_count = 0, block_count = 0;
    uint32_t number = node_at(pool, SENTINEL)->address_next;
    for (; number != SENTINEL; number = node_at(pool, number)->address_next) {
        const struct node *node = node_at(pool, number);
        if (account_of(node) != account) continue;
        granule_count += granule_count_of(node);
        block_count++;
    }
    if (usage.used_granule_count != granule_count || usage.live_block_count != block_count) {
        return "what an account has is exact";
    }
    if (account_granules_of(accounts[account].charged) < granule_count) {
        return "an account is charged for all that it has";
    }
    return NULL;
}

static const char *broken_in_accounts(const struct pool *pool)
{
    size_t line_count =
        pool->account_usages.array.committed_byte_size / sizeof(struct account_usage);
    const char *broken = NULL;
    for (uint32_t account = 1; broken == NULL && account < line_count; account++) {
        bool has_had_some = account_usage_at(&pool->account_usages, account)->term != 0;
        if (has_had_some) broken = broken_in_account(pool, account);
    }
    return broken;
}

static const char *broken_in_bins(const struct pool *pool, enum side side,
                                  uint64_t free_block_count)
{
    const struct pool_bins *bins = &pool->bins[side];
    uint64_t listed_count = 0;
    for (uint32_t bin = 0; bin < POOL_BIN_COUNT; bin++) {
        uint64_t bitmap = bins->bitmaps[bin / POOL_BINS_PER_BITMAP];
        bool is_marked = bitmap >> bin % POOL_BINS_PER_BITMAP & 1;
        if (is_marked != (bins->first[bin] != SENTINEL)) return "bitmaps mark the filled bins";
        if ((bins->filled_bitmaps >> bin / POOL_BINS_PER_BITMAP & 1) != (bitmap != 0)) {
            return "one bitmap marks the others that are not 0";
        }
        uint32_t previous = SENTINEL;
        for (uint32_t number = bins->first[bin]; number != SENTINEL;) {
            const struct node *node = node_at(pool, number);
            if (is_live(node) || number == WILDERNESS) return "bins list free blocks only";
            if (side_of(pool, node) != side) return "a free block is listed on its side";
            if (bin_of(granule_count_of(node)) != bin) return "a free block is in its size's bin";
            uint64_t bound = bins->granule_count_max[bin];
            if (!has_one_size(bin) && bound < UINT32_MAX && granule_count_of(node) > bound) {
                return "a bin's bound holds for its blocks";
            }
            if (previous != SENTINEL && node->bin_previous != previous) {
                return "bin links agree in both directions";
            }
            if (++listed_count > free_block_count) return "every free block is listed once";
            previous = number;
            number = node->bin_next;
        }
    }
    return listed_count == free_block_count ? NULL : "every free block is listed";
}

static const char *broken_in_nodes(const struct pool *pool, uint64_t owned_block_count)
{
    uint64_t owned_count = 0;
    for (uint32_t number = WILDERNESS; number < pool->unused_node; number += NODE_WORD_COUNT) {
        owned_count += owner_of(node_at(pool, number)) != 0;
    }
    return owned_count == owned_block_count ? NULL : "a spare node has no owner";
}

const char *pool_broken_invariant(struct pool *pool)
{
    lock_acquire(&pool->lock);
    const char *broken = NULL;
    if (pool->generation != 0) {
        struct found found;
        broken = broken_in_address_order(pool, &found);
        if (broken == NULL) broken = broken_in_nodes(pool, found.owned_block_count);
        if (broken == NULL) broken = broken_in_accounts(pool);
        for (enum side side = LOW; broken == NULL && side <= HIGH; side++) {
            broken = broken_in_bins(pool, side, found.free_block_counts[side]);
        }
    }
    lock_release(&pool->lock);
    return broken;
}

#endif
