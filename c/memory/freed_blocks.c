#include "memory/freed_blocks.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

// More streams than this at a time make the buckets' chains longer, and nothing else happens.
enum { BUCKET_COUNT = 512 };

static _Atomic uint64_t block_count;
static struct freed_pool *pools;
static struct freed_list *buckets[BUCKET_COUNT];

uint64_t freed_block_count(void)
{
    return atomic_load_explicit(&block_count, memory_order_relaxed);
}

struct freed_pool *freed_pools(void)
{
    return pools;
}

// ---- Pools and lists

struct freed_pool *freed_pool_find(struct pool *pool)
{
    struct freed_pool *found = pools;
    while (found != NULL && found->pool != pool) found = found->next;
    return found;
}

static struct freed_pool *make_pool(struct pool *pool)
{
    struct freed_pool *made = freed_pool_find(pool);
    if (made != NULL) return made;
    made = malloc(sizeof *made);
    if (made == NULL) return NULL;
    *made = (struct freed_pool){.next = pools, .pool = pool};
    pools = made;
    return made;
}

static void drop_pool_if_empty(struct freed_pool *pool)
{
    if (pool->lists != NULL) return;
    struct freed_pool **link = &pools;
    while (*link != pool) link = &(*link)->next;
    *link = pool->next;
    free(pool);
}

// Streams are numbered one after the other.
static struct freed_list **bucket_of(uint64_t stream_id)
{
    return &buckets[stream_id % BUCKET_COUNT];
}

struct freed_list *freed_list_find(struct pool *pool, uint64_t stream_id)
{
    struct freed_list *list = *bucket_of(stream_id);
    while (list != NULL && (list->stream_id != stream_id || list->pool->pool != pool)) {
        list = list->next_in_bucket;
    }
    return list;
}

static struct freed_list *make_list_in(struct freed_pool *pool, uint64_t stream_id)
{
    struct freed_list *list = malloc(sizeof *list);
    if (list == NULL) return NULL;
    struct freed_list **bucket = bucket_of(stream_id);
    *list = (struct freed_list){
        .next = pool->lists, .next_in_bucket = *bucket, .pool = pool, .stream_id = stream_id};
    if (pool->lists != NULL) pool->lists->previous = list;
    pool->lists = list;
    *bucket = list;
    return list;
}

struct freed_list *freed_list_make(struct pool *pool, uint64_t stream_id)
{
    struct freed_list *list = freed_list_find(pool, stream_id);
    if (list != NULL) return list;
    struct freed_pool *its_pool = make_pool(pool);
    if (its_pool == NULL) return NULL;
    list = make_list_in(its_pool, stream_id);
    if (list == NULL) drop_pool_if_empty(its_pool);
    return list;
}

void freed_list_drop_if_empty(struct freed_list *list)
{
    if (list->in_order.first != NULL || list->with_error.first != NULL) return;
    assert(list->pending == NULL);
    struct freed_list **link = bucket_of(list->stream_id);
    while (*link != list) link = &(*link)->next_in_bucket;
    *link = list->next_in_bucket;
    if (list->previous != NULL) list->previous->next = list->next;
    else list->pool->lists = list->next;
    if (list->next != NULL) list->next->previous = list->previous;
    drop_pool_if_empty(list->pool);
    free(list);
}

// ---- Blocks in queues

static void append(struct freed_queue *queue, struct freed_block *block)
{
    block->queue = queue;
    block->previous = queue->last;
    block->next = NULL;
    if (queue->last != NULL) queue->last->next = block;
    else queue->first = block;
    queue->last = block;
}

static void take_out(struct freed_block *block)
{
    struct freed_queue *queue = block->queue;
    if (block->previous != NULL) block->previous->next = block->next;
    else queue->first = block->next;
    if (block->next != NULL) block->next->previous = block->previous;
    else queue->last = block->previous;
}

// ---- Blocks by size

static void insert_by_size(struct freed_block *block)
{
    if (block->list->pool->pool == NULL) return; // the system heap reuses nothing
    size_tree_insert(&block->list->pending, &block->in_list);
    size_tree_insert(&block->list->pool->pending, &block->in_pool);
}

static void remove_by_size(struct freed_block *block)
{
    if (block->state != FREED_PENDING || block->list->pool->pool == NULL) return;
    size_tree_remove(&block->list->pending, &block->in_list);
    size_tree_remove(&block->list->pool->pending, &block->in_pool);
}

static struct freed_block *block_at(struct sized_item *item, size_t offset)
{
    return item == NULL ? NULL : (struct freed_block *)(void *)((char *)item - offset);
}

struct freed_block *freed_list_best(const struct freed_list *list, uint64_t byte_size_min)
{
    if (list == NULL) return NULL;
    return block_at(size_tree_find(list->pending, byte_size_min),
                    offsetof(struct freed_block, in_list));
}

struct freed_block *freed_pool_best(const struct freed_pool *pool, uint64_t byte_size_min)
{
    if (pool == NULL) return NULL;
    return block_at(size_tree_find(pool->pending, byte_size_min),
                    offsetof(struct freed_block, in_pool));
}

// ---- The life of a block

void freed_block_append(struct freed_list *list, struct freed_block *block)
{
    static uint64_t last_order;
    struct sized_item item = {.byte_size = block->byte_size, .order = ++last_order};
    block->list = list;
    block->state = FREED_PENDING;
    block->in_list = item;
    block->in_pool = item;
    append(&list->in_order, block);
    insert_by_size(block);
    atomic_fetch_add_explicit(&block_count, 1, memory_order_relaxed);
}

void freed_block_remove(struct freed_block *block)
{
    remove_by_size(block);
    take_out(block);
    atomic_fetch_sub_explicit(&block_count, 1, memory_order_relaxed);
}

void freed_block_withhold(struct freed_block *block)
{
    if (block->state != FREED_PENDING) return;
    remove_by_size(block);
    block->state = FREED_WITHHELD;
}

void freed_block_put_behind_errors(struct freed_block *block)
{
    freed_block_withhold(block);
    take_out(block);
    append(&block->list->with_error, block);
}

void freed_block_set_reused(struct freed_block *block)
{
    assert(block->state == FREED_PENDING);
    remove_by_size(block);
    block->state = FREED_REUSED;
}

void freed_block_set_pending(struct freed_block *block)
{
    assert(block->state == FREED_REUSED);
    if (block->queue == &block->list->with_error) {
        block->state = FREED_WITHHELD;
    } else {
        block->state = FREED_PENDING;
        insert_by_size(block);
    }
}
