#include "memory/ended_owners.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda/cudart.h"
#include "cuda/event.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "memory/collected_memory.h"
#include "memory/hold.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "memory/pools.h"
#include "memory/stream_ordered.h"
#include "memory/waiting.h"
#include "message.h"
#include "owner.h"

enum { FOUND_COUNT_MAX = 256 };

// A thread that has ended, and a stream that comes after all that its streams were given.
struct ended_owner {
    uint32_t owner;
    bool may_wait; // whether the caller may be made to wait for a GPU
    bool has_stream;
    struct cuda_stream stream;
    bool is_all_freed;
};

// Whether the stream has done all that it was given. What it cannot be asked is as if it had not.
static bool is_stream_done(const struct ended_owner *ended)
{
    enum memory_status status = ended->may_wait ? cuda_stream_synchronize(&ended->stream)
                                                : cuda_stream_query(&ended->stream);
    return status == MEMORY_OK || cuda_is_lost();
}

// Frees memory in the order of the stream, or where that cannot be had, once the stream is done. What may
// still be written to, for all that CUDA tells, stays allocated until it is tried again.
static void free_memory(struct ended_owner *ended, struct pool *pool, uint64_t address,
                        uint64_t generation)
{
    if (ended->has_stream) {
        enum memory_status status =
            stream_ordered_free(pool, address, generation, ended->owner, &ended->stream, 1);
        if (status == MEMORY_OK || status == MEMORY_INVALID_ARG) return;
        if (!is_stream_done(ended)) {
            ended->is_all_freed = false;
            return;
        }
    }
    if (pool != NULL) (void)stream_ordered_free_now(pool, address, generation, ended->owner);
    else (void)nonpinned_memory_free((void *)(uintptr_t)address, generation, ended->owner);
}

static void free_blocks(struct ended_owner *ended, struct pool *pool)
{
    struct pool_owned_block found[FOUND_COUNT_MAX];
    uint64_t cursor = 0;
    do {
        uint32_t found_count = pool_find_owned(pool, ended->owner, &cursor, found, FOUND_COUNT_MAX);
        for (uint32_t i = 0; i < found_count; i++) {
            free_memory(ended, pool, found[i].address, found[i].generation);
        }
    } while (cursor != 0);
}

static void free_nonpinned(struct ended_owner *ended)
{
    struct pool_owned_block found[FOUND_COUNT_MAX];
    uint64_t cursor = 0;
    do {
        uint32_t found_count =
            nonpinned_memory_find_owned(ended->owner, &cursor, found, FOUND_COUNT_MAX);
        for (uint32_t i = 0; i < found_count; i++) {
            free_memory(ended, NULL, found[i].address, found[i].generation);
        }
    } while (cursor != 0);
}

// Returns false where a GPU may still use something, for all that CUDA tells.
static bool free_all(struct ended_owner *ended)
{
    if (!stream_join_owner(ended->owner, ended->may_wait, &ended->stream, &ended->has_stream)) {
        return false;
    }
    ended->is_all_freed = true;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        free_blocks(ended, &gpu_pool(device)->pool);
    }
    free_blocks(ended, &pinned_pool()->pool);
    free_nonpinned(ended);
    return ended->is_all_freed;
}

// Returns false where something is left, which is to be tried again. The streams are still the owner's
// then, so that what is left comes after them also the next time.
static bool clean_up(uint32_t owner, bool may_wait)
{
    struct ended_owner ended = {.owner = owner, .may_wait = may_wait};
    lifecycle_lock_shared();
    message_clear();
    collected_memory_drop_owner(owner);
    hold_end_owner(owner);
    waiting_drop_owner(owner);
    bool is_all_freed = free_all(&ended);
    if (is_all_freed) {
        stream_forget_waits(owner);
        event_release_owner(owner);
        stream_release_owner(owner);
        (void)stream_destroy_released(); // as the thread would have done; a failure is tried again
    }
    lifecycle_unlock();
    return is_all_freed;
}

static void clean_up_all(bool may_wait)
{
    uint32_t owner;
    // Once for each: what is put back is for the next call.
    for (uint32_t count = owner_ended_count(); count > 0 && owner_take_ended(&owner); count--) {
        if (clean_up(owner, may_wait)) owner_release(owner);
        else owner_end(owner);
    }
}

void ended_owners_clean_up(void)
{
    clean_up_all(false);
}

void ended_owners_clean_up_and_wait(void)
{
    clean_up_all(true);
}
