// Holds on allocated memory, as JavaScript begins and ends them.

#include <stdatomic.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "memory/allocation.h"
#include "memory/hold.h"
#include "memory/lifecycle_lock.h"
#include "memory/pools.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

// No generation of non-pinned memory is as high. Borrowed memory counts as non-pinned memory of such a
// generation, which is that memory's alone and never freed.
#define FIRST_BORROWED_GENERATION (UINT64_C(1) << 63)

static struct reserved_pool *pool_of(const struct memory_allocation *allocation)
{
    return is_borrowed(allocation) ? NULL : reserved_pool_of(allocation->place);
}

static uint64_t held_generation_of(const struct memory_allocation *allocation)
{
    return is_borrowed(allocation) ? FIRST_BORROWED_GENERATION + whole_number(-allocation->origin)
                                   : generation_of(allocation->origin);
}

static double begin(const struct memory_allocation *allocation)
{
    enum memory_status status = allocated_memory_check(allocation);
    if (status != MEMORY_OK) return status;
    struct reserved_pool *reserved_pool = pool_of(allocation);
    uint64_t hold =
        hold_begin(reserved_pool == NULL ? NULL : &reserved_pool->pool,
                   reserved_pool == NULL ? NULL : reserved_pool->region,
                   block_address_of(allocation), held_generation_of(allocation), owner_of_thread());
    if (hold != 0) return from_whole_number(hold);
    return message_set(MEMORY_INTERNAL, "failed to hold %.0f bytes: the system refuses memory",
                       allocation->byte_size);
}

double memory_hold_begin(const struct memory_allocation *allocation)
{
    // No reset may come between the look at the memory and the hold on it.
    lifecycle_lock_shared();
    message_clear();
    double result = begin(allocation);
    lifecycle_unlock();
    return result;
}

void memory_hold_end(double hold)
{
    hold_end(whole_number(hold));
}

void memory_view_begin(double hold)
{
    hold_give_to_process(whole_number(hold));
}

void memory_view_end(void *bytes, void *hold)
{
    (void)bytes;
    hold_end((uintptr_t)hold);
}

enum memory_status memory_hold_query(const struct memory_allocation *allocation)
{
    struct reserved_pool *reserved_pool = pool_of(allocation);
    bool is_held = hold_is_held(reserved_pool == NULL ? NULL : &reserved_pool->pool,
                                block_address_of(allocation), held_generation_of(allocation));
    return is_held ? MEMORY_NOT_DONE : MEMORY_OK;
}

double memory_borrow(void)
{
    static _Atomic uint64_t borrowed_count;
    uint64_t number = 1 + atomic_fetch_add_explicit(&borrowed_count, 1, memory_order_relaxed);
    return -from_whole_number(number);
}
