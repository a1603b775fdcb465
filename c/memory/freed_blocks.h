// Blocks that were freed on streams and may still be in use there: in which order, of which stream and
// pool, and of which size. What becomes of them is stream_ordered.c's to say, which sees to it that one
// thread at a time is here.
//
// Adding a block, taking it away, and finding the best one for a request take a time that does not
// depend on how many streams there are, and grows with the logarithm of the number of blocks.
#ifndef FREED_BLOCKS_H
#define FREED_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "cuda/event.h"
#include "memory/size_tree.h"
#include "pool/pool.h"

enum freed_state {
    FREED_PENDING,
    FREED_WITHHELD, // pending, and no request may have it before it has come back to its pool
    FREED_REUSED,
};

struct freed_block {
    struct freed_block *previous, *next; // in its queue
    struct freed_queue *queue;
    struct freed_list *list;
    uint64_t address;
    uint64_t generation;
    uint64_t byte_size; // in whole granules of a pool; of the system heap as it was asked for
    uint32_t tag;       // of a pool's block
    uint32_t account;   // of memory of the system heap
    struct freed_block *next_use; // freed_uses.h; itself where it was freed on one stream
    enum freed_state state;
    struct cuda_event *event; // what the stream had been given when the block was freed
    // Where a request looks, while the block is pending in a pool.
    struct sized_item in_list, in_pool;
};

struct freed_queue {
    struct freed_block *first, *last;
};

// The blocks of one pool that were freed on one stream.
struct freed_list {
    struct freed_list *previous, *next; // of the pool
    struct freed_list *next_in_bucket;
    struct freed_pool *pool;
    uint64_t stream_id;
    struct freed_queue in_order; // as they were freed, which is the order in which events are done
    struct freed_queue with_error; // those whose events have told an error
    struct sized_item *pending;
};

// The lists of one pool, or of the system heap where the pool is null.
struct freed_pool {
    struct freed_pool *next;
    struct pool *pool;
    struct freed_list *lists;
    struct sized_item *pending;
};

// The number of blocks. It is read without the lock where a value that is a moment old will do.
uint64_t freed_block_count(void);

// All pools that have lists.
struct freed_pool *freed_pools(void);

// Null where the pool has no lists, or no list of that stream.
struct freed_pool *freed_pool_find(struct pool *pool);
struct freed_list *freed_list_find(struct pool *pool, uint64_t stream_id);

// The same, made if it is not there. Null where the system refuses memory.
struct freed_list *freed_list_make(struct pool *pool, uint64_t stream_id);

// Gives up a list without blocks, and its pool's lists with the last of them.
void freed_list_drop_if_empty(struct freed_list *list);

// Makes a block the last that was freed in its list. It is pending.
void freed_block_append(struct freed_list *list, struct freed_block *block);
void freed_block_remove(struct freed_block *block);

// Keeps a pending block from requests.
void freed_block_withhold(struct freed_block *block);

// Where the block's event tells an error, puts it behind the others of that kind.
void freed_block_put_behind_errors(struct freed_block *block);

void freed_block_set_reused(struct freed_block *block);
void freed_block_set_pending(struct freed_block *block);

// The smallest pending block of at least so many bytes, or null. Of blocks of one size it is the one
// that was freed first. The list and the pool may be null.
struct freed_block *freed_list_best(const struct freed_list *list, uint64_t byte_size_min);
struct freed_block *freed_pool_best(const struct freed_pool *pool, uint64_t byte_size_min);

#endif
