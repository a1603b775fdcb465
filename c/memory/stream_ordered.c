#include "memory/stream_ordered.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cuda/event.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "message.h"

enum {
    // A stream that has freed more blocks than this is not searched to its end.
    SEARCH_COUNT_MAX = 64,
};

struct deferred_block {
    struct deferred_block *next; // freed later, with the same stream
    struct pool *pool;           // null for memory of the heap
    uint64_t address;
    uint64_t generation;
    uint64_t byte_size; // in whole granules
    uint32_t number;    // counts all that are freed this way, and wraps round
    struct cuda_event *event;
    bool is_lent; // handed on, and live again; it stays in its place
};

// The blocks that were freed with a stream, in that order, so that the events pass in it too.
struct deferred_queue {
    struct deferred_queue *next;
    uint64_t stream_id;
    struct deferred_block *first;
    struct deferred_block **end;
};

// How many blocks wait or are lent. Read without the lock only where it may be too late or too early.
static _Atomic uint64_t block_count;

// Guards the queues. Is taken after the lifecycle lock, and before those of the pools.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct deferred_queue *queues;

static struct deferred_queue *queue_of(uint64_t stream_id)
{
    struct deferred_queue *queue = queues;
    while (queue != NULL && queue->stream_id != stream_id) queue = queue->next;
    return queue;
}

static struct deferred_queue *make_queue_of(uint64_t stream_id)
{
    struct deferred_queue *queue = queue_of(stream_id);
    if (queue != NULL) return queue;
    queue = malloc(sizeof *queue);
    if (queue == NULL) return NULL;
    *queue = (struct deferred_queue){.next = queues, .stream_id = stream_id, .end = &queue->first};
    queues = queue;
    return queue;
}

static void drop_empty_queues(void)
{
    for (struct deferred_queue **link = &queues; *link != NULL;) {
        struct deferred_queue *queue = *link;
        if (queue->first != NULL) {
            link = &queue->next;
        } else {
            *link = queue->next;
            free(queue);
        }
    }
}

// Where a block is in the queues.
struct place {
    struct deferred_queue *queue;
    struct deferred_block **link; // null for nowhere
};

static struct place find_lent(const struct pool *pool, uint64_t address)
{
    for (struct deferred_queue *queue = queues; queue != NULL; queue = queue->next) {
        for (struct deferred_block **link = &queue->first; *link != NULL; link = &(*link)->next) {
            const struct deferred_block *block = *link;
            if (block->is_lent && block->pool == pool && block->address == address) {
                return (struct place){queue, link};
            }
        }
    }
    return (struct place){NULL, NULL};
}

// Takes the block at the link out of its queue, without giving it back to anybody.
static struct deferred_block *remove_at(struct deferred_queue *queue, struct deferred_block **link)
{
    struct deferred_block *block = *link;
    *link = block->next;
    if (queue->end == &block->next) queue->end = link;
    cuda_event_recycle(block->event);
    atomic_fetch_sub_explicit(&block_count, 1, memory_order_relaxed);
    return block;
}

// Nothing uses the block any more, unless it is lent: then its owner may do with it what he likes.
static void settle(struct deferred_block *block)
{
    if (block->pool == NULL) {
        free((void *)(uintptr_t)block->address);
    } else if (block->is_lent) {
        (void)pool_end_loan(block->pool, block->address, block->generation);
    } else {
        (void)pool_free_retired(block->pool, block->address, block->generation);
    }
    free(block);
}

static void reclaim_passed(struct deferred_queue *queue)
{
    while (queue->first != NULL && cuda_event_has_passed(queue->first->event)) {
        settle(remove_at(queue, &queue->first));
    }
}

static void reclaim_all_passed(void)
{
    for (struct deferred_queue *queue = queues; queue != NULL; queue = queue->next) {
        reclaim_passed(queue);
    }
    drop_empty_queues();
}

void deferred_free_reclaim(void)
{
    if (block_count == 0) return;
    lifecycle_lock_shared();
    pthread_mutex_lock(&lock);
    reclaim_all_passed();
    pthread_mutex_unlock(&lock);
    lifecycle_unlock();
}

// ---- Freeing

static uint32_t next_number(void)
{
    static uint32_t last_number;
    last_number = last_number == POOL_RETIRED_NUMBER_MAX ? 1 : last_number + 1;
    return last_number;
}

static enum pool_status retire_from_owner(struct deferred_block *block)
{
    if (block->pool == NULL) {
        return nonpinned_memory_forget((void *)(uintptr_t)block->address, block->generation);
    }
    return pool_retire(block->pool, block->address, block->generation, block->number,
                       &block->byte_size);
}

// 1 where the block has gone with its pool.
static int32_t retire(struct deferred_block *block)
{
    block->number = next_number();
    switch (retire_from_owner(block)) {
    case POOL_OK:
        return MEMORY_OK;
    case POOL_CLOSED:
        return 1;
    default:
        return MEMORY_INVALID_ARG;
    }
}

static int32_t enqueue(struct deferred_queue *queue, struct deferred_block *block)
{
    int32_t status = retire(block);
    if (status != MEMORY_OK) return status;
    *queue->end = block;
    queue->end = &block->next;
    atomic_fetch_add_explicit(&block_count, 1, memory_order_relaxed);
    return MEMORY_OK;
}

static int32_t out_of_memory(void)
{
    return message_set(MEMORY_INTERNAL, "failed to free memory: the system refuses memory for the "
                                        "list of what a stream still uses");
}

// The stream's event is to say when the block is free: also of what still uses it from before it was
// lent.
static int32_t order_after_loan(struct place lent, const struct memory_stream *stream)
{
    if (lent.link == NULL || lent.queue->stream_id == (uint64_t)stream->id) return MEMORY_OK;
    if (cuda_event_hold_back((*lent.link)->event, stream)) return MEMORY_OK;
    return message_set(MEMORY_INTERNAL, "failed to free memory: its stream cannot be made to wait "
                                        "for another that still uses it");
}

// In one piece under the lock, so that a queue is in the order of its events.
static int32_t defer_locked(struct deferred_block *block, const struct memory_stream *stream)
{
    struct deferred_queue *queue = make_queue_of((uint64_t)stream->id);
    if (queue == NULL) return out_of_memory();
    struct place lent = {NULL, NULL};
    if (block->pool != NULL && pool_is_lent(block->pool, block->address, block->generation)) {
        lent = find_lent(block->pool, block->address);
    }
    int32_t status = order_after_loan(lent, stream);
    if (status == MEMORY_OK) {
        block->event = cuda_event_after(stream);
        status = block->event == NULL ? MEMORY_INTERNAL : enqueue(queue, block);
    }
    if (status == MEMORY_OK && lent.link != NULL) free(remove_at(lent.queue, lent.link));
    if (status != MEMORY_OK && block->event != NULL) cuda_event_recycle(block->event);
    reclaim_passed(queue);
    drop_empty_queues();
    return status;
}

static int32_t defer(const struct deferred_block *wanted, const struct memory_stream *stream)
{
    struct deferred_block *block = malloc(sizeof *block);
    if (block == NULL) return out_of_memory();
    *block = *wanted;
    pthread_mutex_lock(&lock);
    int32_t status = defer_locked(block, stream);
    pthread_mutex_unlock(&lock);
    if (status == MEMORY_OK) return MEMORY_OK;
    free(block);
    return status > MEMORY_OK ? MEMORY_OK : status;
}

int32_t deferred_free_block(struct pool *pool, uint64_t address, uint64_t generation,
                            const struct memory_stream *stream)
{
    const struct deferred_block block = {
        .pool = pool, .address = address, .generation = generation};
    return defer(&block, stream);
}

// Has a lent block wait on where it waited before.
static enum pool_status take_back(struct place lent)
{
    struct deferred_block *block = *lent.link;
    enum pool_status status = pool_retire(block->pool, block->address, block->generation,
                                          block->number, &block->byte_size);
    if (status == POOL_OK) block->is_lent = false;
    reclaim_passed(lent.queue);
    drop_empty_queues();
    return status;
}

enum pool_status deferred_free_lent(struct pool *pool, uint64_t address, uint64_t generation)
{
    pthread_mutex_lock(&lock);
    struct place lent = find_lent(pool, address);
    // Where the loan has ended meanwhile, the block is as any other.
    enum pool_status status =
        lent.link == NULL ? pool_free(pool, address, generation) : take_back(lent);
    pthread_mutex_unlock(&lock);
    return status;
}

void deferred_free_drop(struct pool *pool)
{
    pthread_mutex_lock(&lock);
    for (struct deferred_queue *queue = queues; queue != NULL; queue = queue->next) {
        for (struct deferred_block **link = &queue->first; *link != NULL;) {
            if ((*link)->pool != pool) {
                link = &(*link)->next;
            } else {
                settle(remove_at(queue, link));
            }
        }
    }
    drop_empty_queues();
    pthread_mutex_unlock(&lock);
}

// ---- Allocating

// Hands on a block as it is. False where it went with its pool.
static bool lend(struct deferred_block *block, struct pool_block *lent)
{
    if (pool_lend(block->pool, block->address, block->generation) != POOL_OK) return false;
    block->is_lent = true;
    *lent = (struct pool_block){.address = block->address, .generation = block->generation};
    return true;
}

// The smallest block of the queue's first that has at least so many bytes, and at most so many; null
// if there is none.
static struct deferred_block *find_in(const struct deferred_queue *queue, const struct pool *pool,
                                      uint64_t byte_size_min, uint64_t byte_size_max)
{
    struct deferred_block *best = NULL;
    struct deferred_block *block = queue->first;
    for (int i = 0; block != NULL && i < SEARCH_COUNT_MAX; i++, block = block->next) {
        bool fits = block->pool == pool && !block->is_lent && block->byte_size >= byte_size_min &&
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

static bool hand_on_same_stream(struct pool *pool, uint64_t byte_size_min, uint64_t byte_size_max,
                                const struct memory_stream *stream, struct pool_block *lent)
{
    const struct deferred_queue *queue = queue_of((uint64_t)stream->id);
    if (queue == NULL) return false;
    struct deferred_block *block = find_in(queue, pool, byte_size_min, byte_size_max);
    return block != NULL && lend(block, lent);
}

static bool hand_on_other_stream(struct pool *pool, uint64_t byte_size,
                                 const struct memory_stream *stream, struct pool_block *lent)
{
    struct deferred_block *best = NULL;
    for (const struct deferred_queue *queue = queues; queue != NULL; queue = queue->next) {
        struct deferred_block *block = find_in(queue, pool, byte_size, UINT64_MAX);
        if (block == NULL || (best != NULL && best->byte_size <= block->byte_size)) continue;
        best = block;
    }
    return best != NULL && cuda_event_hold_back(best->event, stream) && lend(best, lent);
}

// The block that was freed first of those that help, or null.
static struct deferred_block *first_that_helps(struct pool *pool, uint64_t byte_size)
{
    struct deferred_block *first = NULL;
    for (struct deferred_queue *queue = queues; queue != NULL; queue = queue->next) {
        for (struct deferred_block *block = queue->first; block != NULL; block = block->next) {
            bool is_later = first != NULL && (int32_t)(block->number - first->number) > 0;
            if (block->pool != pool || block->is_lent || is_later) continue;
            if (pool_byte_size_without(pool, block->address) >= byte_size) first = block;
        }
    }
    return first;
}

// False where CUDA cannot tell.
static bool wait_for(const struct deferred_block *block)
{
    struct cuda_event *event = block->event;
    uint64_t stream_id = event->stream_id;
    // Events are destroyed only under the exclusive lifecycle lock. One that is used again in the
    // meantime makes this wait longer, and no harm is done.
    pthread_mutex_unlock(&lock);
    bool has_passed = cuda_event_wait(event, stream_id);
    pthread_mutex_lock(&lock);
    return has_passed;
}

static enum pool_status alloc_or_wait(struct pool *pool, uint64_t byte_size,
                                      const struct deferred_request *request,
                                      struct pool_block *block)
{
    const struct memory_stream *stream = request->stream;
    uint64_t block_byte_size = rounded_up(byte_size);
    if (stream != NULL &&
        hand_on_same_stream(pool, block_byte_size, block_byte_size, stream, block)) {
        return POOL_OK;
    }
    enum pool_status status = pool_alloc(pool, byte_size, block, NULL);
    while (status == POOL_FULL) {
        reclaim_all_passed();
        status = pool_alloc(pool, byte_size, block, NULL);
        if (status != POOL_FULL) break;
        if (stream != NULL &&
            hand_on_same_stream(pool, block_byte_size, UINT64_MAX, stream, block)) {
            return POOL_OK;
        }
        if (!request->may_wait) break;
        if (stream != NULL && hand_on_other_stream(pool, block_byte_size, stream, block)) {
            return POOL_OK;
        }
        const struct deferred_block *helping = first_that_helps(pool, block_byte_size);
        if (helping == NULL || !wait_for(helping)) break;
    }
    return status;
}

enum pool_status deferred_free_alloc(struct pool *pool, uint64_t byte_size,
                                     const struct deferred_request *request,
                                     struct pool_block *block, struct pool_stats *full)
{
    lifecycle_lock_shared();
    pthread_mutex_lock(&lock);
    enum pool_status status = alloc_or_wait(pool, byte_size, request, block);
    pthread_mutex_unlock(&lock);
    lifecycle_unlock();
    // The refusal is counted, with the statistics of the moment.
    return status == POOL_OK ? POOL_OK : pool_alloc(pool, byte_size, block, full);
}

enum pool_status deferred_free_alloc_refused(struct pool *pool, uint64_t byte_size,
                                             struct pool_block *block, struct pool_stats *full)
{
    if (atomic_load_explicit(&block_count, memory_order_relaxed) == 0) {
        return pool_alloc(pool, byte_size, block, full); // now it counts
    }
    const struct deferred_request request = {.stream = NULL, .may_wait = true};
    return deferred_free_alloc(pool, byte_size, &request, block, full);
}
