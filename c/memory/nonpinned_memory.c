#include "memory/nonpinned_memory.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/hold.h"
#include "memory/nonpinned_limit.h"

enum {
    PLACE_COUNT_AT_FIRST = 64,
    // How many blocks a thread looks at before others get the lock.
    FIND_STEP_COUNT = 4096,
    HUGE_PAGE_BYTE_SIZE = 2 << 20,
};

struct tracked_block {
    void *pointer;
    uint64_t byte_size; // as it was asked for
    uint32_t owner;
    uint32_t account;
    uint32_t place; // in `blocks`
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t generation = 1;
static void *tree; // the C library's balanced tree of the live blocks; their addresses are the keys

// The live blocks again, without gaps. One that is removed leaves its place to the last, so a walk in
// pieces goes from the last to the first: then it misses none.
static struct tracked_block **blocks;
static uint32_t block_count, block_count_max;
static uint64_t live_byte_size;
static struct account_usages account_usages;

static int compare_addresses(const void *a, const void *b)
{
    uintptr_t a_address = (uintptr_t)((const struct tracked_block *)a)->pointer;
    uintptr_t b_address = (uintptr_t)((const struct tracked_block *)b)->pointer;
    return (a_address > b_address) - (a_address < b_address);
}

// ---- Tracking, under the lock

static bool make_place(void)
{
    if (block_count < block_count_max) return true;
    if (block_count_max > UINT32_MAX / 2) return false;
    uint32_t grown_count = block_count_max == 0 ? PLACE_COUNT_AT_FIRST : 2 * block_count_max;
    struct tracked_block **grown = malloc(grown_count * sizeof(struct tracked_block *));
    if (grown == NULL) return false;
    if (block_count > 0) memcpy(grown, blocks, block_count * sizeof(struct tracked_block *));
    free(blocks);
    blocks = grown;
    block_count_max = grown_count;
    return true;
}

static bool track(struct tracked_block *block)
{
    if (!make_place() || tsearch(block, &tree, compare_addresses) == NULL) return false;
    block->place = block_count++;
    blocks[block->place] = block;
    live_byte_size += block->byte_size;
    return true;
}

static void untrack(struct tracked_block *block)
{
    assert(block_count > 0 && blocks[block->place] == block);
    tdelete(block, &tree, compare_addresses);
    struct tracked_block *last = blocks[--block_count];
    last->place = block->place;
    blocks[last->place] = last;
    assert(live_byte_size >= block->byte_size);
    live_byte_size -= block->byte_size;
}

// Finds the owner's block that starts at the address.
static enum pool_status find(void *pointer, uint64_t wanted_generation, uint32_t owner,
                             struct tracked_block **block)
{
    if (wanted_generation != 0 && wanted_generation != generation) return POOL_CLOSED;
    const struct tracked_block wanted = {.pointer = pointer};
    void *node = tfind(&wanted, &tree, compare_addresses);
    if (node == NULL) return POOL_NOT_ALLOCATED;
    *block = *(struct tracked_block **)node;
    bool is_owned = owner == POOL_ANY_OWNER || (*block)->owner == owner;
    return is_owned ? POOL_OK : POOL_NOT_ALLOCATED;
}

// ---- Accounts, under the lock

static uint64_t granules_of(uint64_t byte_size)
{
    return (byte_size + POOL_GRANULE_BYTE_SIZE - 1) / POOL_GRANULE_BYTE_SIZE;
}

// Charges the client's account for a block.
static enum pool_status charge(struct tracked_block *block, const struct pool_client *client)
{
    uint32_t number = account_of_key(client->account_key);
    if (!account_usages_ensure(&account_usages, number)) return POOL_FULL;
    uint64_t granule_count = granules_of(block->byte_size);
    switch (account_charge(client->account_key, granule_count, client->has_waited)) {
    case ACCOUNT_OK:
        block->account = number;
        account_usage_add(&account_usages, client->account_key, granule_count);
        return POOL_OK;
    case ACCOUNT_OVER_LIMIT:
        return POOL_OVER_LIMIT;
    default:
        return POOL_ACCOUNT_ENDED;
    }
}

static void credit(struct forgotten_memory forgotten)
{
    if (forgotten.account == ACCOUNT_NONE) return;
    account_usage_remove(&account_usages, forgotten.account, granules_of(forgotten.byte_size));
    account_credit(forgotten.account, granules_of(forgotten.byte_size));
}

static struct forgotten_memory forget(struct tracked_block *block)
{
    struct forgotten_memory forgotten = {.byte_size = block->byte_size, .account = block->account};
    untrack(block);
    free(block);
    return forgotten;
}

// ---- Allocating and freeing

static enum pool_status alloc_locked(struct tracked_block *block, const struct pool_client *client)
{
    if (!track(block)) return POOL_FULL;
    enum pool_status status = POOL_OK;
    if (client->account_key != 0) status = charge(block, client);
    if (status != POOL_OK) untrack(block);
    return status;
}

// A large block is fresh from the kernel, which gives it a page at each first touch. Asked for huge pages,
// it gives 512 at once, which halves the time of filling a block.
static void *heap_alloc(uint64_t byte_size)
{
    bool is_large = byte_size >= HUGE_PAGE_BYTE_SIZE;
    uint64_t alignment = is_large ? HUGE_PAGE_BYTE_SIZE : POOL_GRANULE_BYTE_SIZE;
    void *pointer;
    if (posix_memalign(&pointer, alignment, byte_size) != 0) return NULL;
    // A kernel that has none gives small ones.
    if (is_large) (void)madvise(pointer, byte_size, MADV_HUGEPAGE);
    return pointer;
}

// After a success the block is whoever's frees the memory.
static enum pool_status alloc(struct tracked_block *block, const struct pool_client *client,
                              struct pool_block *allocated)
{
    block->pointer = heap_alloc(block->byte_size);
    if (block->pointer == NULL) return POOL_FULL;
    pthread_mutex_lock(&lock);
    enum pool_status status = alloc_locked(block, client);
    *allocated =
        (struct pool_block){.address = (uintptr_t)block->pointer, .generation = generation};
    pthread_mutex_unlock(&lock);
    if (status != POOL_OK) free(block->pointer);
    return status;
}

enum pool_status nonpinned_memory_alloc(uint64_t byte_size, const struct pool_client *client,
                                        struct pool_block *allocated)
{
    if (!nonpinned_limit_take(byte_size)) return POOL_FULL;
    enum pool_status status = POOL_FULL;
    struct tracked_block *block = malloc(sizeof *block);
    if (block != NULL) {
        *block = (struct tracked_block){.byte_size = byte_size, .owner = client->owner};
        status = alloc(block, client, allocated);
    }
    if (status == POOL_OK) return POOL_OK;
    free(block);
    nonpinned_limit_give_back(byte_size);
    return status;
}

enum pool_status nonpinned_memory_forget(void *pointer, uint64_t wanted_generation, uint32_t owner,
                                         struct forgotten_memory *forgotten)
{
    struct tracked_block *block;
    pthread_mutex_lock(&lock);
    enum pool_status status = find(pointer, wanted_generation, owner, &block);
    if (status == POOL_OK) *forgotten = forget(block);
    pthread_mutex_unlock(&lock);
    return status;
}

static void give_back(void *pointer, uint64_t its_generation, uint64_t byte_size)
{
    enum hold_status status = hold_take_over(NULL, (uintptr_t)pointer, its_generation, byte_size);
    assert(status != HOLD_FREED_ALREADY);
    if (status != HOLD_NONE) return;
    free(pointer);
    nonpinned_limit_give_back(byte_size);
}

void nonpinned_memory_release(void *pointer, uint64_t its_generation,
                              struct forgotten_memory forgotten)
{
    pthread_mutex_lock(&lock);
    credit(forgotten);
    pthread_mutex_unlock(&lock);
    give_back(pointer, its_generation, forgotten.byte_size);
}

enum pool_status nonpinned_memory_free(void *pointer, uint64_t wanted_generation, uint32_t owner)
{
    struct forgotten_memory forgotten;
    uint64_t its_generation =
        wanted_generation != 0 ? wanted_generation : nonpinned_memory_generation();
    enum pool_status status =
        nonpinned_memory_forget(pointer, wanted_generation, owner, &forgotten);
    if (status == POOL_OK) nonpinned_memory_release(pointer, its_generation, forgotten);
    return status;
}

void nonpinned_memory_reset(void)
{
    pthread_mutex_lock(&lock);
    while (block_count > 0) {
        struct tracked_block *last = blocks[block_count - 1];
        give_back(last->pointer, generation, last->byte_size);
        credit(forget(last));
    }
    free(blocks);
    blocks = NULL;
    block_count_max = 0;
    generation++;
    pthread_mutex_unlock(&lock);
}

// ---- Owners

enum pool_status nonpinned_memory_exchange_owner(void *pointer, uint64_t wanted_generation,
                                                 uint32_t expected, uint32_t desired,
                                                 uint64_t *block_byte_size)
{
    struct tracked_block *block;
    pthread_mutex_lock(&lock);
    enum pool_status status = find(pointer, wanted_generation, expected, &block);
    if (status == POOL_OK && hold_is_held(NULL, (uintptr_t)pointer, generation)) {
        status = POOL_TAGGED;
    }
    if (status == POOL_OK) {
        block->owner = desired;
        if (block_byte_size != NULL) *block_byte_size = block->byte_size;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

uint32_t nonpinned_memory_find_owned(uint32_t owner, uint64_t *cursor,
                                     struct pool_owned_block found[], uint32_t found_count_max)
{
    pthread_mutex_lock(&lock);
    uint32_t found_count = 0, looked_count = 0;
    uint32_t end = *cursor == 0 || *cursor > block_count ? block_count : (uint32_t)*cursor;
    for (; end > 0 && looked_count < FIND_STEP_COUNT && found_count < found_count_max;
         looked_count++) {
        const struct tracked_block *block = blocks[--end];
        if (owner != POOL_ANY_OWNER && block->owner != owner) continue;
        found[found_count++] = (struct pool_owned_block){.address = (uintptr_t)block->pointer,
                                                         .generation = generation,
                                                         .byte_size = block->byte_size,
                                                         .owner = block->owner};
    }
    *cursor = end;
    pthread_mutex_unlock(&lock);
    return found_count;
}

// ---- Looking

enum pool_status nonpinned_memory_check(void *pointer, uint64_t wanted_generation, uint32_t owner)
{
    struct tracked_block *block;
    pthread_mutex_lock(&lock);
    enum pool_status status = find(pointer, wanted_generation, owner, &block);
    pthread_mutex_unlock(&lock);
    return status;
}

uint32_t nonpinned_memory_account(void *pointer, uint64_t wanted_generation)
{
    struct tracked_block *block;
    pthread_mutex_lock(&lock);
    bool is_there = find(pointer, wanted_generation, POOL_ANY_OWNER, &block) == POOL_OK;
    uint32_t account = is_there ? block->account : ACCOUNT_NONE;
    pthread_mutex_unlock(&lock);
    return account;
}

void nonpinned_memory_read_account_usage(uint64_t account_key, struct account_usage *usage)
{
    pthread_mutex_lock(&lock);
    account_usage_read(&account_usages, account_key, usage);
    pthread_mutex_unlock(&lock);
}

void nonpinned_memory_note_account_refusal(uint64_t account_key, bool is_fallback)
{
    pthread_mutex_lock(&lock);
    account_usage_note_refusal(&account_usages, account_key, is_fallback);
    pthread_mutex_unlock(&lock);
}

void nonpinned_memory_reset_account_peak(uint64_t account_key)
{
    pthread_mutex_lock(&lock);
    account_usage_reset_peak(&account_usages, account_key);
    pthread_mutex_unlock(&lock);
}

uint64_t nonpinned_memory_byte_size(void)
{
    pthread_mutex_lock(&lock);
    uint64_t byte_size = live_byte_size;
    pthread_mutex_unlock(&lock);
    return byte_size;
}

uint64_t nonpinned_memory_count(void)
{
    pthread_mutex_lock(&lock);
    uint64_t count = block_count;
    pthread_mutex_unlock(&lock);
    return count;
}

uint64_t nonpinned_memory_generation(void)
{
    pthread_mutex_lock(&lock);
    uint64_t current = generation;
    pthread_mutex_unlock(&lock);
    return current;
}
