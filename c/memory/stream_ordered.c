#include "memory/stream_ordered.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/event.h"
#include "memory/hold.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "message.h"

enum {
    // How many of the blocks that are pending on a stream a request looks at.
    SEARCH_COUNT_MAX = 64,
    TAG_COUNT_AT_FIRST = 16,
};

// A block that was freed on a stream, and is pending or reused. Its pool does not know which.
struct freed_block {
    struct freed_block *previous, *next; // freed earlier and later, on the same stream
    struct freed_list *list;
    struct pool *pool; // null for memory of the system heap
    uint64_t address;
    uint64_t generation;
    uint32_t owner;     // who freed it
    uint64_t byte_size; // in whole granules; of a pool's block
    uint64_t order;     // the lower, the earlier it was freed
    uint32_t tag;       // the tag of a pool's block, which is its index in tag_entries
    bool is_reused;
    struct cuda_event *event; // what the stream had been given when the block was freed
};

// The blocks that were freed on one stream, in that order, in which their events are done too.
struct freed_list {
    struct freed_list *next;
    uint64_t stream_id;
    struct freed_block *first, *last;
};

// The number of freed blocks. It is read without the lock where a value that is a moment old will do.
static _Atomic uint64_t block_count;

// Guards everything below. It is taken after the lifecycle lock, and before the locks of the pools.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct freed_list *lists;

// ---- Tags, each of which leads from a block in its pool to the block here

union tag_entry {
    struct freed_block *block;
    uint32_t next_spare; // while no block has the tag
};

static union tag_entry *tag_entries; // that of tag 0 is not used
static uint32_t tag_count;
static uint32_t spare_tag; // 0 for none

static bool add_tags(void)
{
    if (tag_count > UINT32_MAX / 2) return false;
    uint32_t grown_count = tag_count == 0 ? TAG_COUNT_AT_FIRST : 2 * tag_count;
    union tag_entry *grown = malloc(grown_count * sizeof *grown);
    if (grown == NULL) return false;
    if (tag_count > 0) memcpy(grown, tag_entries, tag_count * sizeof *grown);
    free(tag_entries);
    tag_entries = grown;
    for (uint32_t tag = grown_count - 1; tag >= tag_count && tag > 0; tag--) {
        tag_entries[tag].next_spare = spare_tag;
        spare_tag = tag;
    }
    tag_count = grown_count;
    return true;
}

static bool acquire_tag(struct freed_block *block)
{
    if (spare_tag == 0 && !add_tags()) return false;
    block->tag = spare_tag;
    spare_tag = tag_entries[block->tag].next_spare;
    tag_entries[block->tag].block = block;
    return true;
}

// No block has a tag any more: a peak of pending blocks need not cost memory for ever.
static void drop_tags(void)
{
    free(tag_entries);
    tag_entries = NULL;
    tag_count = 0;
    spare_tag = 0;
}

static void release_tag(struct freed_block *block)
{
    if (block->tag == 0) return;
    tag_entries[block->tag].next_spare = spare_tag;
    spare_tag = block->tag;
}

// Finds the owner's freed block that starts at the address. `*block` is null where a live block starts
// there that was not freed on a stream; POOL_TAGGED is one that somebody holds.
static enum pool_status find_freed(struct pool *pool, uint64_t address, uint64_t generation,
                                   uint32_t owner, struct freed_block **block)
{
    *block = NULL;
    // Exchanging a mark for itself changes nothing, and tells any other tag.
    struct pool_mark mark = {.owner = owner};
    enum pool_status status = pool_exchange_mark(pool, address, generation, &mark, mark, NULL);
    if (status != POOL_TAGGED || mark.tag == HOLD_TAG) return status;
    *block = tag_entries[mark.tag].block;
    assert((*block)->pool == pool && (*block)->address == address);
    return POOL_OK;
}

// ---- Lists of freed blocks

static struct freed_list *find_list(uint64_t stream_id)
{
    struct freed_list *list = lists;
    while (list != NULL && list->stream_id != stream_id) list = list->next;
    return list;
}

static struct freed_list *find_or_make_list(uint64_t stream_id)
{
    struct freed_list *list = find_list(stream_id);
    if (list != NULL) return list;
    list = malloc(sizeof *list);
    if (list == NULL) return NULL;
    *list = (struct freed_list){.next = lists, .stream_id = stream_id};
    lists = list;
    return list;
}

static void drop_empty_lists(void)
{
    for (struct freed_list **link = &lists; *link != NULL;) {
        struct freed_list *list = *link;
        if (list->first != NULL) {
            link = &list->next;
        } else {
            *link = list->next;
            free(list);
        }
    }
}

static void append(struct freed_list *list, struct freed_block *block)
{
    static uint64_t last_order;
    block->order = ++last_order;
    block->list = list;
    block->previous = list->last;
    if (list->last != NULL) list->last->next = block;
    else list->first = block;
    list->last = block;
    atomic_fetch_add_explicit(&block_count, 1, memory_order_relaxed);
}

// Gives up what a freed block holds, which is in no list.
static void forget(struct freed_block *block)
{
    if (block->event != NULL) event_release(block->event);
    release_tag(block);
    free(block);
}

static void remove_and_forget(struct freed_block *block)
{
    struct freed_list *list = block->list;
    if (block->previous != NULL) block->previous->next = block->next;
    else list->first = block->next;
    if (block->next != NULL) block->next->previous = block->previous;
    else list->last = block->previous;
    atomic_fetch_sub_explicit(&block_count, 1, memory_order_relaxed);
    forget(block);
}

// ---- Taking back what no stream uses any more

static void change_tag(const struct freed_block *block, uint32_t from, uint32_t to)
{
    struct pool_mark expected = {.owner = POOL_ANY_OWNER, .tag = from};
    struct pool_mark desired = {.owner = POOL_ANY_OWNER, .tag = to};
    enum pool_status status = pool_exchange_mark(block->pool, block->address, block->generation,
                                                 &expected, desired, NULL);
    assert(status == POOL_OK);
    (void)status;
}

// Frees a block with the HOLD_TAG, or leaves it to those who hold it, if somebody does.
static enum pool_status free_held(struct pool *pool, uint64_t address, uint64_t generation,
                                  uint32_t owner)
{
    if (generation == 0) generation = pool_generation(pool);
    switch (hold_take_over(pool, address, generation, 0)) {
    case HOLD_TAKEN_OVER:
        return POOL_OK;
    case HOLD_FREED_ALREADY:
        return POOL_NOT_ALLOCATED;
    default: // the last hold has ended, with or without the tag
        break;
    }
    struct pool_mark held = {.owner = owner, .tag = HOLD_TAG};
    enum pool_status status = pool_free_marked(pool, address, generation, held);
    return status == POOL_TAGGED ? pool_free(pool, address, generation, owner) : status;
}

static void give_back(const struct freed_block *block)
{
    enum pool_status status;
    struct pool_mark pending = {.owner = POOL_ANY_OWNER, .tag = block->tag};
    if (!hold_any()) {
        status = pool_free_marked(block->pool, block->address, block->generation, pending);
    } else {
        change_tag(block, block->tag, HOLD_TAG);
        status = free_held(block->pool, block->address, block->generation, POOL_ANY_OWNER);
    }
    assert(status == POOL_OK);
    (void)status;
}

// A pending block goes back to where it came from. A reused one becomes its owner's like any other.
static void reclaim(struct freed_block *block)
{
    if (block->pool == NULL) {
        nonpinned_memory_release((void *)(uintptr_t)block->address, block->generation,
                                 block->byte_size);
    } else if (block->is_reused) {
        change_tag(block, block->tag, 0);
    } else {
        give_back(block);
    }
    remove_and_forget(block);
}

static void reclaim_from(struct freed_list *list)
{
    while (list->first != NULL && event_is_done(list->first->event)) reclaim(list->first);
}

static void reclaim_from_all(void)
{
    for (struct freed_list *list = lists; list != NULL; list = list->next) {
        reclaim_from(list);
    }
    drop_empty_lists();
}

void stream_ordered_reclaim(void)
{
    if (block_count == 0) return;
    lifecycle_lock_shared();
    pthread_mutex_lock(&lock);
    reclaim_from_all();
    pthread_mutex_unlock(&lock);
    lifecycle_unlock();
}

void stream_ordered_drop(struct pool *pool)
{
    pthread_mutex_lock(&lock);
    for (struct freed_list *list = lists; list != NULL; list = list->next) {
        for (struct freed_block *block = list->first; block != NULL;) {
            struct freed_block *next = block->next;
            if (block->pool == pool) reclaim(block);
            block = next;
        }
    }
    drop_empty_lists();
    if (lists == NULL) drop_tags();
    pthread_mutex_unlock(&lock);
}

// ---- Freeing on a stream

static enum memory_status out_of_memory(void)
{
    return message_set(MEMORY_INTERNAL, "failed to free memory: the system refuses memory for the "
                                        "list of what a stream still uses");
}

// Makes the stream's next event come also after the earlier use of a block that is reused.
static enum memory_status order_after(const struct freed_block *reused,
                                      const struct cuda_stream *stream)
{
    if (reused == NULL || reused->list->stream_id == (uint64_t)stream->id) return MEMORY_OK;
    if (event_make_stream_wait(reused->event, stream)) return MEMORY_OK;
    return message_set(MEMORY_INTERNAL, "failed to free memory: its stream cannot be made to wait "
                                        "for another that still uses it");
}

// Takes the block from its owner, who cannot free it any more. This is the last step that can fail.
static enum pool_status take_from_owner(struct freed_block *block, const struct freed_block *reused)
{
    if (block->pool == NULL) {
        return nonpinned_memory_forget((void *)(uintptr_t)block->address, block->generation,
                                       block->owner, &block->byte_size);
    }
    struct pool_mark live = {.owner = block->owner, .tag = reused == NULL ? 0 : reused->tag};
    struct pool_mark pending = {.owner = 0, .tag = block->tag};
    enum pool_status status = pool_exchange_mark(block->pool, block->address, block->generation,
                                                 &live, pending, &block->byte_size);
    if (status != POOL_TAGGED || live.tag != HOLD_TAG) return status;
    // Somebody holds the block, who finds another tag when the hold ends.
    uint64_t generation = block->generation != 0 ? block->generation : pool_generation(block->pool);
    if (!hold_is_held(block->pool, block->address, generation)) return POOL_NOT_ALLOCATED;
    return pool_exchange_mark(block->pool, block->address, block->generation, &live, pending,
                              &block->byte_size);
}

// `reused` is the same block as it was freed before, if it has been reused since and that earlier use
// may not be over; or null.
static enum memory_status free_into(struct freed_list *list, struct freed_block *block,
                                    struct freed_block *reused, const struct cuda_stream *stream)
{
    enum memory_status status = order_after(reused, stream);
    if (status != MEMORY_OK) return status;
    block->event = event_record(stream);
    if (block->event == NULL) return MEMORY_INTERNAL;
    switch (take_from_owner(block, reused)) {
    case POOL_OK:
        append(list, block);
        if (reused != NULL) remove_and_forget(reused);
        return MEMORY_OK;
    case POOL_CLOSED:
        return MEMORY_OK; // the block went with its pool
    default:
        return MEMORY_INVALID_ARG;
    }
}

static enum memory_status free_locked(struct freed_list *list, struct freed_block *block,
                                      const struct cuda_stream *stream)
{
    struct freed_block *earlier = NULL;
    if (block->pool != NULL) {
        if (!acquire_tag(block)) return out_of_memory();
        (void)find_freed(block->pool, block->address, block->generation, block->owner, &earlier);
    }
    struct freed_block *reused = earlier != NULL && earlier->is_reused ? earlier : NULL;
    return free_into(list, block, reused, stream);
}

enum memory_status stream_ordered_free(struct pool *pool, uint64_t address, uint64_t generation,
                                       uint32_t owner, const struct cuda_stream *stream)
{
    struct freed_block *block = malloc(sizeof *block);
    if (block == NULL) return out_of_memory();
    *block = (struct freed_block){
        .pool = pool, .address = address, .generation = generation, .owner = owner};
    // In one piece under the lock, so that the blocks of a list are in the order of their events.
    pthread_mutex_lock(&lock);
    struct freed_list *list = find_or_make_list((uint64_t)stream->id);
    enum memory_status status = list == NULL ? out_of_memory() : free_locked(list, block, stream);
    if (block->list == NULL) forget(block);
    if (list != NULL) reclaim_from(list);
    drop_empty_lists();
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Freeing without a stream

static void set_owner(const struct freed_block *block, uint32_t owner)
{
    struct pool_mark mark = {.owner = POOL_ANY_OWNER, .tag = block->tag};
    struct pool_mark owned = {.owner = owner, .tag = block->tag};
    enum pool_status status =
        pool_exchange_mark(block->pool, block->address, block->generation, &mark, owned, NULL);
    assert(status == POOL_OK);
    (void)status;
}

enum pool_status stream_ordered_free_tagged(struct pool *pool, uint64_t address,
                                            uint64_t generation, uint32_t owner)
{
    pthread_mutex_lock(&lock);
    struct freed_block *block;
    enum pool_status status = find_freed(pool, address, generation, owner, &block);
    if (status == POOL_OK && block == NULL) {
        // The earlier use was over meanwhile, and the block is like any other again.
        status = pool_free(pool, address, generation, owner);
    } else if (status == POOL_TAGGED) {
        status = free_held(pool, address, generation, owner);
    } else if (status == POOL_OK && !block->is_reused) {
        status = POOL_NOT_ALLOCATED; // it was freed already
    } else if (status == POOL_OK) {
        set_owner(block, 0);
        block->is_reused = false;
        reclaim_from(block->list);
        drop_empty_lists();
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Allocating

static struct pool_block reuse(struct freed_block *block, uint32_t owner)
{
    assert(!block->is_reused);
    set_owner(block, owner);
    block->is_reused = true;
    return (struct pool_block){.address = block->address, .generation = block->generation};
}

static bool is_pending_in(const struct freed_block *block, const struct pool *pool)
{
    return block->pool == pool && !block->is_reused;
}

// The smallest of the list's first blocks that has at least so many bytes, and at most so many; null
// if there is none.
static struct freed_block *find_in(const struct freed_list *list, const struct pool *pool,
                                   uint64_t byte_size_min, uint64_t byte_size_max)
{
    struct freed_block *best = NULL;
    struct freed_block *block = list->first;
    for (int i = 0; block != NULL && i < SEARCH_COUNT_MAX; i++, block = block->next) {
        bool fits = is_pending_in(block, pool) && block->byte_size >= byte_size_min &&
                    block->byte_size <= byte_size_max;
        if (fits && (best == NULL || block->byte_size < best->byte_size)) best = block;
    }
    return best;
}

static uint64_t rounded_up(uint64_t byte_size)
{
    const uint64_t granule = POOL_GRANULE_BYTE_SIZE;
    return (byte_size + granule - 1) / granule * granule;
}

static bool reuse_of_same_stream(struct pool *pool, uint64_t byte_size_min, uint64_t byte_size_max,
                                 const struct stream_ordered_request *request,
                                 struct pool_block *reused)
{
    const struct freed_list *list = find_list((uint64_t)request->stream->id);
    if (list == NULL) return false;
    struct freed_block *block = find_in(list, pool, byte_size_min, byte_size_max);
    if (block != NULL) *reused = reuse(block, request->owner);
    return block != NULL;
}

static bool reuse_of_other_stream(struct pool *pool, uint64_t byte_size,
                                  const struct stream_ordered_request *request,
                                  struct pool_block *reused)
{
    struct freed_block *best = NULL;
    for (const struct freed_list *list = lists; list != NULL; list = list->next) {
        struct freed_block *block = find_in(list, pool, byte_size, UINT64_MAX);
        if (block == NULL || (best != NULL && best->byte_size <= block->byte_size)) continue;
        best = block;
    }
    if (best == NULL || !event_make_stream_wait(best->event, request->stream)) return false;
    *reused = reuse(best, request->owner);
    return true;
}

// Whether the block with the tag is pending and was freed no later than `order`.
static bool is_pending_until(uint32_t tag, const void *order)
{
    const struct freed_block *block = tag_entries[tag].block;
    return !block->is_reused && block->order <= *(const uint64_t *)order;
}

// The block that was freed first of those that help, or null.
static struct freed_block *first_that_helps(struct pool *pool, uint64_t byte_size)
{
    struct freed_block *first = NULL;
    for (struct freed_list *list = lists; list != NULL; list = list->next) {
        for (struct freed_block *block = list->first; block != NULL; block = block->next) {
            bool is_later = first != NULL && block->order > first->order;
            if (!is_pending_in(block, pool) || is_later) continue;
            uint64_t coalesced_byte_size =
                pool_coalesced_byte_size(pool, block->address, is_pending_until, &block->order);
            if (coalesced_byte_size >= byte_size) first = block;
        }
    }
    return first;
}

// Waits until a pending block is not used any more. False where CUDA cannot tell.
static bool wait_for(const struct freed_block *block)
{
    struct cuda_event *event = block->event;
    uint64_t stream_id = event->stream_id;
    // Events are destroyed only under the exclusive lifecycle lock. One that is used again in the
    // meantime makes this wait longer, and no harm is done.
    pthread_mutex_unlock(&lock);
    bool is_done = event_wait(event, stream_id);
    pthread_mutex_lock(&lock);
    return is_done;
}

static enum pool_status alloc_locked(struct pool *pool, uint64_t byte_size,
                                     const struct stream_ordered_request *request,
                                     struct pool_block *block)
{
    const struct cuda_stream *stream = request->stream;
    uint64_t block_byte_size = rounded_up(byte_size);
    if (stream != NULL &&
        reuse_of_same_stream(pool, block_byte_size, block_byte_size, request, block)) {
        return POOL_OK;
    }
    enum pool_status status = pool_alloc(pool, byte_size, request->owner, block, NULL);
    while (status == POOL_FULL) {
        reclaim_from_all();
        status = pool_alloc(pool, byte_size, request->owner, block, NULL);
        if (status != POOL_FULL) break;
        if (stream != NULL &&
            reuse_of_same_stream(pool, block_byte_size, UINT64_MAX, request, block)) {
            return POOL_OK;
        }
        if (!request->may_wait) break;
        if (stream != NULL && reuse_of_other_stream(pool, block_byte_size, request, block)) {
            return POOL_OK;
        }
        const struct freed_block *helping = first_that_helps(pool, block_byte_size);
        if (helping == NULL || !wait_for(helping)) break;
    }
    return status;
}

enum pool_status stream_ordered_alloc(struct pool *pool, uint64_t byte_size,
                                      const struct stream_ordered_request *request,
                                      struct pool_block *block, struct pool_stats *full)
{
    lifecycle_lock_shared();
    pthread_mutex_lock(&lock);
    enum pool_status status = alloc_locked(pool, byte_size, request, block);
    pthread_mutex_unlock(&lock);
    lifecycle_unlock();
    // A refusal is counted by a last try, which also gives the statistics of that moment.
    return status == POOL_OK ? POOL_OK : pool_alloc(pool, byte_size, request->owner, block, full);
}

enum pool_status stream_ordered_alloc_after_refusal(struct pool *pool, uint64_t byte_size,
                                                    uint32_t owner, struct pool_block *block,
                                                    struct pool_stats *full)
{
    if (atomic_load_explicit(&block_count, memory_order_relaxed) == 0) {
        return pool_alloc(pool, byte_size, owner, block, full); // this time a refusal is counted
    }
    const struct stream_ordered_request request = {.owner = owner, .may_wait = true};
    return stream_ordered_alloc(pool, byte_size, &request, block, full);
}
