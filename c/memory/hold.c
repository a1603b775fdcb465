#include "memory/hold.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "memory/nonpinned_limit.h"

// Memory that is held. The first three members are the key.
struct held_memory {
    struct pool *pool; // null for non-pinned memory
    uint64_t address;
    uint64_t generation;
    struct region *region; // null for non-pinned memory
    uint64_t hold_count;
    bool is_freed;                // it goes when the last hold ends
    uint64_t nonpinned_byte_size; // once it is freed
};

// One hold.
struct hold {
    struct hold *previous, *next;
    struct held_memory *memory;
    uint32_t owner;
    bool is_view;
};

static _Atomic uint64_t hold_count;

// Guards everything below. It is taken while the locks of non-pinned and of freed memory are held, and
// before those of pools and regions.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *held_memories; // the C library's balanced tree
static struct hold *holds;
static uint64_t nonpinned_byte_size_of_freed;

static int compare(const void *a, const void *b)
{
    const struct held_memory *left = a;
    const struct held_memory *right = b;
    if (left->pool != right->pool) return (uintptr_t)left->pool > (uintptr_t)right->pool ? 1 : -1;
    if (left->address != right->address) return left->address > right->address ? 1 : -1;
    return (left->generation > right->generation) - (left->generation < right->generation);
}

static struct held_memory *find(struct pool *pool, uint64_t address, uint64_t generation)
{
    const struct held_memory key = {.pool = pool, .address = address, .generation = generation};
    struct held_memory **found = tfind(&key, &held_memories, compare);
    return found == NULL ? NULL : *found;
}

static void exchange_tag(const struct held_memory *memory, uint32_t expected_tag,
                         uint32_t desired_tag)
{
    struct pool_mark expected = {POOL_ANY_OWNER, expected_tag};
    (void)pool_exchange_mark(memory->pool, memory->address, memory->generation, &expected,
                             (struct pool_mark){POOL_ANY_OWNER, desired_tag}, NULL);
}

// Nobody holds the memory any more.
static void let_go(struct held_memory *memory)
{
    tdelete(memory, &held_memories, compare);
    if (memory->pool == NULL) {
        if (memory->is_freed) {
            nonpinned_byte_size_of_freed -= memory->nonpinned_byte_size;
            free((void *)(uintptr_t)memory->address);
            nonpinned_limit_give_back(memory->nonpinned_byte_size);
        }
    } else if (memory->is_freed) {
        (void)pool_free_marked(memory->pool, memory->address, memory->generation,
                               (struct pool_mark){POOL_ANY_OWNER, HOLD_TAG});
    } else {
        exchange_tag(memory, HOLD_TAG, 0);
    }
    if (memory->region != NULL) region_release(memory->region);
    free(memory);
}

// ---- Beginning

static struct held_memory *find_or_add(struct pool *pool, struct region *region, uint64_t address,
                                       uint64_t generation)
{
    struct held_memory *memory = find(pool, address, generation);
    if (memory != NULL) return memory;
    memory = malloc(sizeof *memory);
    if (memory == NULL) return NULL;
    *memory = (struct held_memory){
        .pool = pool, .address = address, .generation = generation, .region = region};
    if (tsearch(memory, &held_memories, compare) == NULL) {
        free(memory);
        return NULL;
    }
    // A block that a GPU may still use by way of an earlier owner keeps its tag: only its present
    // owner frees it, who knows of the hold.
    if (pool != NULL) exchange_tag(memory, 0, HOLD_TAG);
    if (memory->region != NULL) region_acquire(memory->region);
    return memory;
}

static struct hold *begin_locked(struct held_memory *memory, uint32_t owner, bool is_view)
{
    struct hold *hold = malloc(sizeof *hold);
    if (hold == NULL) {
        if (memory->hold_count == 0) let_go(memory);
        return NULL;
    }
    *hold = (struct hold){.next = holds, .memory = memory, .owner = owner, .is_view = is_view};
    if (holds != NULL) holds->previous = hold;
    holds = hold;
    memory->hold_count++;
    atomic_fetch_add_explicit(&hold_count, 1, memory_order_relaxed);
    return hold;
}

struct hold *hold_begin(struct pool *pool, struct region *region, uint64_t address,
                        uint64_t generation, uint32_t owner, bool is_view)
{
    pthread_mutex_lock(&lock);
    struct held_memory *memory = find_or_add(pool, region, address, generation);
    struct hold *hold = memory == NULL ? NULL : begin_locked(memory, owner, is_view);
    pthread_mutex_unlock(&lock);
    return hold;
}

// ---- Ending

static void end_locked(struct hold *hold)
{
    if (hold->previous != NULL) hold->previous->next = hold->next;
    else holds = hold->next;
    if (hold->next != NULL) hold->next->previous = hold->previous;
    struct held_memory *memory = hold->memory;
    assert(memory->hold_count > 0);
    if (--memory->hold_count == 0) let_go(memory);
    free(hold);
    atomic_fetch_sub_explicit(&hold_count, 1, memory_order_relaxed);
}

void hold_end(struct hold *hold)
{
    pthread_mutex_lock(&lock);
    end_locked(hold);
    pthread_mutex_unlock(&lock);
}

void hold_end_owner(uint32_t owner)
{
    pthread_mutex_lock(&lock);
    struct hold *next;
    for (struct hold *hold = holds; hold != NULL; hold = next) {
        next = hold->next;
        if (hold->owner == owner && !hold->is_view) end_locked(hold);
    }
    pthread_mutex_unlock(&lock);
}

// ---- Memory that is freed

bool hold_any(void)
{
    return atomic_load_explicit(&hold_count, memory_order_relaxed) != 0;
}

enum hold_status hold_take_over(struct pool *pool, uint64_t address, uint64_t generation,
                                uint64_t nonpinned_byte_size)
{
    if (!hold_any()) return HOLD_NONE;
    enum hold_status status = HOLD_NONE;
    pthread_mutex_lock(&lock);
    struct held_memory *memory = find(pool, address, generation);
    if (memory != NULL) {
        status = memory->is_freed ? HOLD_FREED_ALREADY : HOLD_TAKEN_OVER;
        if (!memory->is_freed && pool == NULL) {
            memory->nonpinned_byte_size = nonpinned_byte_size;
            nonpinned_byte_size_of_freed += nonpinned_byte_size;
        }
        memory->is_freed = true;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

bool hold_is_held(struct pool *pool, uint64_t address, uint64_t generation)
{
    if (!hold_any()) return false;
    pthread_mutex_lock(&lock);
    const struct held_memory *memory = find(pool, address, generation);
    bool is_held = memory != NULL && !memory->is_freed;
    pthread_mutex_unlock(&lock);
    return is_held;
}

uint64_t hold_nonpinned_byte_size(void)
{
    pthread_mutex_lock(&lock);
    uint64_t byte_size = nonpinned_byte_size_of_freed;
    pthread_mutex_unlock(&lock);
    return byte_size;
}
