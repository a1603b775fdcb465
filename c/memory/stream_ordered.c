#include "memory/stream_ordered.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/borrowed_stream.h"
#include "cuda/event.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "memory/block_tags.h"
#include "memory/freed_blocks.h"
#include "memory/freed_uses.h"
#include "memory/hold.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "message.h"

// How many blocks are taken back before others get the lock.
enum { RECLAIM_STEP_COUNT = 256 };

// Guards all that is known of freed blocks. It is taken after the lifecycle lock, and before the locks
// of the pools.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// ---- A freed block and its pool

static void exchange_mark(const struct freed_block *block, struct pool_mark desired)
{
    struct pool_mark mark = {.owner = POOL_ANY_OWNER, .tag = block->tag};
    enum pool_status status = pool_exchange_mark(block->list->pool->pool, block->address,
                                                 block->generation, &mark, desired, NULL);
    assert(status == POOL_OK);
    (void)status;
}

static void set_owner(const struct freed_block *block, uint32_t owner)
{
    exchange_mark(block, (struct pool_mark){.owner = owner, .tag = block->tag});
}

// Finds the owner's freed block that starts at the address. `*block` is null where a live block starts
// there that was not freed on a stream; POOL_TAGGED is one that somebody holds.
static enum pool_status find_freed(struct pool *pool, uint64_t address, uint64_t generation,
                                   uint32_t owner, struct freed_block **block)
{
    // Exchanging a mark for itself changes nothing, and tells any other tag.
    struct pool_mark mark = {.owner = owner};
    enum pool_status status = pool_exchange_mark(pool, address, generation, &mark, mark, NULL);
    *block = NULL;
    if (status != POOL_TAGGED || mark.tag == HOLD_TAG) return status;
    *block = block_of_tag(mark.tag);
    assert((*block)->list->pool->pool == pool && (*block)->address == address);
    return POOL_OK;
}

// Gives up what a freed block holds, which is in no list.
static void forget(struct freed_block *block)
{
    if (block->event != NULL) event_release(block->event);
    block_tag_release(block->tag);
    free(block);
}

static void remove_and_forget(struct freed_block *block)
{
    freed_block_remove(block);
    forget(block);
}

// ---- Taking back what no stream uses any more

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
    struct pool *pool = block->list->pool->pool;
    enum pool_status status;
    if (hold_any()) {
        exchange_mark(block, (struct pool_mark){.owner = POOL_ANY_OWNER, .tag = HOLD_TAG});
        status = free_held(pool, block->address, block->generation, POOL_ANY_OWNER);
    } else {
        status = pool_free_marked(pool, block->address, block->generation,
                                  (struct pool_mark){.owner = POOL_ANY_OWNER, .tag = block->tag});
    }
    assert(status == POOL_OK);
    (void)status;
}

// A pending block goes back to where it came from. A reused one becomes its owner's like any other.
static void reclaim(struct freed_block *block)
{
    if (freed_use_has_others(block)) {
        freed_use_leave(block);
        remove_and_forget(block);
        return;
    }
    if (block->list->pool->pool == NULL) {
        nonpinned_memory_release(
            (void *)(uintptr_t)block->address, block->generation,
            (struct forgotten_memory){.byte_size = block->byte_size, .account = block->account});
    } else if (block->state == FREED_REUSED) {
        exchange_mark(block, (struct pool_mark){.owner = POOL_ANY_OWNER});
    } else {
        give_back(block);
    }
    remove_and_forget(block);
}

// Takes back the first blocks of the list, as far as the stream has got. Where an event tells an error,
// nothing is known of its block, and the next may be done all the same.
static void reclaim_in_order(struct freed_list *list, uint32_t *step_count)
{
    for (struct freed_block *first; *step_count > 0; --*step_count) {
        first = list->in_order.first;
        if (first == NULL) return;
        enum event_progress progress = event_progress(first->event);
        if (progress == EVENT_NOT_PASSED) return;
        if (progress == EVENT_PASSED) reclaim(first);
        else freed_block_put_behind_errors(first);
    }
}

// Takes back blocks whose events have told errors: all of them where the stream is idle; otherwise the
// one that was asked longest ago, if its event tells no error any more.
static void reclaim_with_error(struct freed_list *list, uint32_t *step_count)
{
    struct freed_block *first = list->with_error.first;
    if (first == NULL) return;
    if (cuda_is_lost() || stream_is_idle(list->stream_id)) {
        for (; first != NULL && *step_count > 0; --*step_count) {
            reclaim(first);
            first = list->with_error.first;
        }
    } else if (event_progress(first->event) == EVENT_PASSED) {
        reclaim(first);
    } else {
        freed_block_put_behind_errors(first);
    }
}

// The list may be gone afterwards.
static void reclaim_from_list(struct freed_list *list, uint32_t *step_count)
{
    reclaim_in_order(list, step_count);
    reclaim_with_error(list, step_count);
    freed_list_drop_if_empty(list);
}

static void reclaim_from_pool(struct freed_pool *pool, uint32_t *step_count)
{
    if (pool == NULL) return;
    for (struct freed_list *list = pool->lists, *next; list != NULL; list = next) {
        next = list->next;
        reclaim_from_list(list, step_count);
    }
}

// What no stream uses of a pool and of the system heap, which has no statistics for which somebody
// would ask. False where there may be more.
static bool reclaim_some_of(struct pool *pool)
{
    uint32_t step_count = RECLAIM_STEP_COUNT;
    reclaim_from_pool(freed_pool_find(pool), &step_count);
    reclaim_from_pool(freed_pool_find(NULL), &step_count);
    return step_count > 0;
}

static bool reclaim_some_of_all(void)
{
    uint32_t step_count = RECLAIM_STEP_COUNT;
    for (struct freed_pool *pool = freed_pools(), *next; pool != NULL; pool = next) {
        next = pool->next;
        reclaim_from_pool(pool, &step_count);
    }
    return step_count > 0;
}

void stream_ordered_reclaim(void)
{
    if (freed_block_count() == 0) return;
    lifecycle_lock_shared();
    for (bool is_all = false; !is_all;) {
        pthread_mutex_lock(&lock);
        is_all = reclaim_some_of_all();
        pthread_mutex_unlock(&lock);
    }
    lifecycle_unlock();
}

static void reclaim_queue(struct freed_queue *queue)
{
    while (queue->first != NULL) reclaim(queue->first);
}

static void drop_list(struct freed_list *list)
{
    reclaim_queue(&list->in_order);
    reclaim_queue(&list->with_error);
    freed_list_drop_if_empty(list);
}

void stream_ordered_drop(struct pool *pool)
{
    pthread_mutex_lock(&lock);
    struct freed_pool *dropped = freed_pool_find(pool);
    for (struct freed_list *list = dropped == NULL ? NULL : dropped->lists, *next; list != NULL;
         list = next) {
        next = list->next;
        drop_list(list);
    }
    if (freed_pools() == NULL) block_tags_drop();
    pthread_mutex_unlock(&lock);
}

void stream_ordered_reclaim_errors(void)
{
    pthread_mutex_lock(&lock);
    for (struct freed_pool *pool = freed_pools(), *next_pool; pool != NULL; pool = next_pool) {
        next_pool = pool->next;
        for (struct freed_list *list = pool->lists, *next; list != NULL; list = next) {
            next = list->next;
            reclaim_queue(&list->with_error);
            freed_list_drop_if_empty(list);
        }
    }
    pthread_mutex_unlock(&lock);
}

// ---- Freeing on a stream

// A block that somebody frees.
struct owned_block {
    struct pool *pool; // null for the system heap
    uint64_t address;
    uint64_t generation;
    uint32_t owner;
};

static enum memory_status out_of_memory(void)
{
    return message_set(MEMORY_INTERNAL, "failed to free memory: the system refuses memory for the "
                                        "list of what a stream still uses");
}

// The same block as it was freed before, if it has been reused since and that earlier use may not be
// over; or null.
static struct freed_block *find_reused(const struct owned_block *owned)
{
    struct freed_block *earlier = NULL;
    if (owned->pool == NULL) return NULL;
    (void)find_freed(owned->pool, owned->address, owned->generation, owned->owner, &earlier);
    return earlier != NULL && earlier->state == FREED_REUSED ? earlier : NULL;
}

// Makes the stream's next event come also after the earlier use of a block that is reused.
static enum memory_status order_after(const struct freed_block *reused,
                                      const struct cuda_stream *stream)
{
    if (reused == NULL) return MEMORY_OK;
    bool is_in_order = reused->list->stream_id == (uint64_t)stream->id &&
                       !stream_is_borrowed(reused->list->stream_id);
    if (is_in_order) return MEMORY_OK;
    return event_make_stream_wait(reused->event, stream);
}

static bool is_held(const struct owned_block *owned)
{
    if (owned->pool == NULL || !hold_any()) return false;
    uint64_t generation = owned->generation != 0 ? owned->generation : pool_generation(owned->pool);
    return hold_is_held(owned->pool, owned->address, generation);
}

// Makes a live block pending, if it has the mark.
static enum pool_status make_pending(const struct owned_block *owned, struct freed_block *block,
                                     struct pool_mark *live)
{
    struct pool_mark pending = {.owner = 0, .tag = block->tag};
    return pool_exchange_mark(owned->pool, owned->address, owned->generation, live, pending,
                              &block->byte_size);
}

// Takes the block from its owner, who cannot free it any more. This is the last step that can fail.
static enum pool_status take_from_owner(const struct owned_block *owned, struct freed_block *block,
                                        const struct freed_block *reused)
{
    if (owned->pool == NULL) {
        struct forgotten_memory forgotten = {0};
        enum pool_status status = nonpinned_memory_forget(
            (void *)(uintptr_t)owned->address, owned->generation, owned->owner, &forgotten);
        block->byte_size = forgotten.byte_size;
        block->account = forgotten.account;
        return status;
    }
    struct pool_mark live = {.owner = owned->owner, .tag = reused == NULL ? 0 : reused->tag};
    enum pool_status status = make_pending(owned, block, &live);
    // Somebody holds the block, who finds another tag when the hold ends; or it was freed, and goes with
    // its last hold. A hold may end at any moment, in another thread, and the block has no tag then.
    if (status == POOL_TAGGED && live.tag == HOLD_TAG && is_held(owned)) {
        status = make_pending(owned, block, &live);
    }
    if (status == POOL_TAGGED && reused == NULL) {
        live.tag = 0;
        status = make_pending(owned, block, &live);
    }
    return status == POOL_TAGGED ? POOL_NOT_ALLOCATED : status;
}

static enum memory_status free_into(struct freed_list *list, const struct owned_block *owned,
                                    struct freed_block *block, const struct cuda_stream *stream)
{
    struct freed_block *reused = find_reused(owned);
    enum memory_status status = order_after(reused, stream);
    if (status != MEMORY_OK) return status;
    status = event_record(stream, &block->event);
    if (status != MEMORY_OK) return status;
    switch (take_from_owner(owned, block, reused)) {
    case POOL_OK:
        freed_block_append(list, block);
        // What somebody holds is not handed on before the stream is done, and the hold has ended.
        if (is_held(owned)) freed_block_withhold(block);
        if (reused != NULL) {
            struct freed_list *its_list = reused->list;
            remove_and_forget(reused);
            if (its_list != list) freed_list_drop_if_empty(its_list);
        }
        return MEMORY_OK;
    case POOL_CLOSED:
        return MEMORY_OK; // the block went with its pool
    default:
        return MEMORY_INVALID_ARG;
    }
}

static enum memory_status free_locked(const struct owned_block *owned, struct freed_block *block,
                                      const struct cuda_stream *stream)
{
    struct freed_list *list = freed_list_make(owned->pool, (uint64_t)stream->id);
    if (owned->pool != NULL) block->tag = block_tag_acquire(block);
    bool has_room = list != NULL && (owned->pool == NULL || block->tag != 0);
    enum memory_status status = has_room ? free_into(list, owned, block, stream) : out_of_memory();
    if (block->list == NULL) forget(block);
    uint32_t step_count = RECLAIM_STEP_COUNT;
    if (list != NULL) reclaim_from_list(list, &step_count);
    return status;
}

// ---- Freeing on several streams, none of which is made to wait for another

static enum memory_status free_uses(const struct owned_block *owned, struct freed_uses *uses)
{
    struct freed_block *first = uses->blocks[0];
    if (!freed_uses_find_lists(uses, owned->pool)) return out_of_memory();
    enum memory_status status = freed_uses_record(uses);
    if (status != MEMORY_OK) return status;
    if (owned->pool != NULL) first->tag = block_tag_acquire(first);
    if (owned->pool != NULL && first->tag == 0) return out_of_memory();
    struct freed_block *reused = find_reused(owned);
    enum pool_status taken = take_from_owner(owned, first, reused);
    if (taken == POOL_OK) freed_uses_append(uses, reused);
    else block_tag_release(first->tag);
    // A block of a pool that was closed went with that.
    return taken == POOL_OK || taken == POOL_CLOSED ? MEMORY_OK : MEMORY_INVALID_ARG;
}

static enum memory_status free_on_streams(const struct owned_block *owned, struct freed_uses *uses)
{
    pthread_mutex_lock(&lock);
    enum memory_status status = free_uses(owned, uses);
    uint32_t step_count = RECLAIM_STEP_COUNT;
    for (uint32_t i = 0; i < uses->count; i++) {
        struct freed_list *list = freed_list_find(owned->pool, (uint64_t)uses->streams[i].id);
        if (list != NULL) reclaim_from_list(list, &step_count);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static bool are_same(const struct cuda_stream *streams, uint32_t stream_count)
{
    for (uint32_t i = 1; i < stream_count; i++) {
        if (streams[i].id != streams[0].id) return false;
    }
    return true;
}

enum memory_status stream_ordered_free(struct pool *pool, uint64_t address, uint64_t generation,
                                       uint32_t owner, const struct cuda_stream *streams,
                                       uint32_t stream_count)
{
    const struct owned_block owned = {
        .pool = pool, .address = address, .generation = generation, .owner = owner};
    if (!are_same(streams, stream_count)) {
        struct freed_uses uses;
        bool has_room = freed_uses_make(&uses, address, generation, streams, stream_count);
        enum memory_status status = has_room ? free_on_streams(&owned, &uses) : out_of_memory();
        freed_uses_give_up(&uses);
        return status;
    }
    struct freed_block *block = malloc(sizeof *block);
    if (block == NULL) return out_of_memory();
    *block = (struct freed_block){.address = address, .generation = generation, .next_use = block};
    // In one piece under the lock, so that the blocks of a list are in the order of their events.
    pthread_mutex_lock(&lock);
    enum memory_status status = free_locked(&owned, block, streams);
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Freeing without a stream

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
    } else if (status == POOL_OK && block->state != FREED_REUSED) {
        status = POOL_NOT_ALLOCATED; // it was freed already
    } else if (status == POOL_OK) {
        set_owner(block, 0);
        freed_block_set_pending(block);
        uint32_t step_count = RECLAIM_STEP_COUNT;
        reclaim_from_list(block->list, &step_count);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

// ---- Allocating

struct request {
    struct pool *pool;
    uint64_t byte_size;
    const struct pool_client *client;
    const struct cuda_stream *stream; // null for none
};

static uint64_t rounded_up(uint64_t byte_size)
{
    const uint64_t granule = POOL_GRANULE_BYTE_SIZE;
    return (byte_size + granule - 1) / granule * granule;
}

// POOL_OVER_LIMIT and POOL_ACCOUNT_ENDED change nothing.
static enum pool_status reuse(struct freed_block *block, const struct pool_client *client,
                              struct pool_block *reused)
{
    enum pool_status status = pool_exchange_client(block->list->pool->pool, block->address,
                                                   block->generation, block->tag, client);
    if (status != POOL_OK) return status;
    freed_block_set_reused(block);
    *reused = (struct pool_block){.address = block->address, .generation = block->generation};
    return POOL_OK;
}

// The smallest block that is pending on the request's own stream and large enough, or null.
static struct freed_block *best_of_same_stream(const struct request *request)
{
    if (request->stream == NULL) return NULL;
    const struct freed_list *list = freed_list_find(request->pool, (uint64_t)request->stream->id);
    return freed_list_best(list, rounded_up(request->byte_size));
}

static bool reuse_of_same_stream(const struct request *request, bool is_exact,
                                 struct pool_block *reused)
{
    struct freed_block *best = best_of_same_stream(request);
    if (best == NULL) return false;
    if (is_exact && best->byte_size != rounded_up(request->byte_size)) return false;
    if (stream_is_borrowed(best->list->stream_id) &&
        event_make_stream_wait(best->event, request->stream) != MEMORY_OK) {
        return false;
    }
    return reuse(best, request->client, reused) == POOL_OK;
}

static bool reuse_of_other_stream(const struct request *request, struct pool_block *reused)
{
    if (request->stream == NULL) return false;
    struct freed_block *best =
        freed_pool_best(freed_pool_find(request->pool), rounded_up(request->byte_size));
    if (best == NULL) return false;
    if (event_make_stream_wait(best->event, request->stream) != MEMORY_OK) return false;
    return reuse(best, request->client, reused) == POOL_OK;
}

static enum pool_status try_pool(const struct request *request, struct pool_block *block)
{
    return pool_alloc_for(request->pool, request->byte_size, request->client, block, NULL);
}

// Whether the request may be served once more has been taken back.
static bool may_be_served_later(enum pool_status status)
{
    return status == POOL_FULL || status == POOL_OVER_LIMIT;
}

static enum pool_status alloc_locked(const struct request *request, struct pool_block *block)
{
    if (reuse_of_same_stream(request, true, block)) return POOL_OK;
    enum pool_status status = try_pool(request, block);
    for (bool is_all = false; may_be_served_later(status) && !is_all;) {
        // An account may have memory of other pools too.
        is_all = status == POOL_FULL ? reclaim_some_of(request->pool) : reclaim_some_of_all();
        status = try_pool(request, block);
        pthread_mutex_unlock(&lock);
        pthread_mutex_lock(&lock);
    }
    if (!may_be_served_later(status)) return status;
    bool is_reused =
        reuse_of_same_stream(request, false, block) || reuse_of_other_stream(request, block);
    return is_reused ? POOL_OK : status;
}

static enum pool_status alloc(const struct request *request, struct pool_block *block)
{
    // A request that the pool could not serve if all of it were free looks at no block.
    enum pool_status status =
        pool_check_request(request->pool, request->byte_size, request->client);
    if (status != POOL_OK) return status;
    lifecycle_lock_shared();
    pthread_mutex_lock(&lock);
    status = alloc_locked(request, block);
    pthread_mutex_unlock(&lock);
    lifecycle_unlock();
    return status;
}

enum pool_status stream_ordered_alloc(struct pool *pool, uint64_t byte_size,
                                      const struct pool_client *client,
                                      const struct cuda_stream *stream, struct pool_block *block,
                                      struct pool_stats *full)
{
    const struct request request = {
        .pool = pool, .byte_size = byte_size, .client = client, .stream = stream};
    if (freed_block_count() > 0 && alloc(&request, block) == POOL_OK) return POOL_OK;
    // A refusal is counted by a last try, which also gives the statistics of that moment.
    return pool_alloc_for(pool, byte_size, client, block, full);
}
