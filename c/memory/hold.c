#include "memory/hold.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "owner.h"

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

// One hold, or a spare place for one.
struct hold {
    struct held_memory *memory; // null where the place is spare
    uint32_t owner;             // OWNER_PROCESS for what no thread's end ends
    uint32_t generation;        // of the place: another one has had another number
    uint32_t next_spare;
};

// A hold's number has its place in the lower bits, and above them the generation, which is never 0.
// Numbers are as small as addresses are, so that a deallocator's context can be one.
enum {
    PLACE_BITS = 26,
    GENERATION_BITS = 21,
    PLACE_COUNT_AT_FIRST = 64,
    PLACE_COUNT_MAX = 1 << PLACE_BITS,
    NO_PLACE = UINT32_MAX,
};

static _Atomic uint64_t hold_count;

// Guards everything below. It is taken while the locks of non-pinned and of freed memory are held, and
// before those of pools and regions.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *held_memories; // the C library's balanced tree
static struct hold *holds;
static uint32_t place_count;
static uint32_t spare_place = NO_PLACE;
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

static bool add_places(void)
{
    if (place_count == PLACE_COUNT_MAX) return false;
    uint32_t grown_count = place_count == 0 ? PLACE_COUNT_AT_FIRST : 2 * place_count;
    struct hold *grown = malloc(grown_count * sizeof *grown);
    if (grown == NULL) return false;
    if (place_count > 0) memcpy(grown, holds, place_count * sizeof *grown);
    free(holds);
    holds = grown;
    for (uint32_t place = grown_count; place-- > place_count;) {
        holds[place] = (struct hold){.next_spare = spare_place};
        spare_place = place;
    }
    place_count = grown_count;
    return true;
}

static uint64_t begin_locked(struct held_memory *memory, uint32_t owner)
{
    if (spare_place == NO_PLACE && !add_places()) {
        if (memory->hold_count == 0) let_go(memory);
        return 0;
    }
    uint32_t place = spare_place;
    struct hold *hold = &holds[place];
    spare_place = hold->next_spare;
    hold->memory = memory;
    hold->owner = owner;
    if (++hold->generation >> GENERATION_BITS != 0) hold->generation = 1;
    memory->hold_count++;
    atomic_fetch_add_explicit(&hold_count, 1, memory_order_relaxed);
    return (uint64_t)hold->generation << PLACE_BITS | place;
}

uint64_t hold_begin(struct pool *pool, struct region *region, uint64_t address, uint64_t generation,
                    uint32_t owner)
{
    pthread_mutex_lock(&lock);
    struct held_memory *memory = find_or_add(pool, region, address, generation);
    uint64_t number = memory == NULL ? 0 : begin_locked(memory, owner);
    pthread_mutex_unlock(&lock);
    return number;
}

// The place of the hold with the number, or NO_PLACE where it has ended.
static uint32_t find_hold(uint64_t number)
{
    uint64_t place = number & (PLACE_COUNT_MAX - 1);
    if (place >= place_count) return NO_PLACE;
    const struct hold *hold = &holds[place];
    bool is_there = hold->memory != NULL && hold->generation == number >> PLACE_BITS;
    return is_there ? (uint32_t)place : NO_PLACE;
}

void hold_give_to_process(uint64_t number)
{
    pthread_mutex_lock(&lock);
    uint32_t place = find_hold(number);
    if (place != NO_PLACE) holds[place].owner = OWNER_PROCESS;
    pthread_mutex_unlock(&lock);
}

// ---- Ending

static void end_locked(uint32_t place)
{
    struct hold *hold = &holds[place];
    struct held_memory *memory = hold->memory;
    hold->memory = NULL;
    hold->next_spare = spare_place;
    spare_place = place;
    assert(memory->hold_count > 0);
    if (--memory->hold_count == 0) let_go(memory);
    atomic_fetch_sub_explicit(&hold_count, 1, memory_order_relaxed);
}

void hold_end(uint64_t number)
{
    pthread_mutex_lock(&lock);
    uint32_t place = find_hold(number);
    if (place != NO_PLACE) end_locked(place);
    pthread_mutex_unlock(&lock);
}

void hold_end_owner(uint32_t owner)
{
    if (!hold_any()) return;
    pthread_mutex_lock(&lock);
    for (uint32_t place = 0; place < place_count; place++) {
        if (holds[place].memory != NULL && holds[place].owner == owner) end_locked(place);
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
