// Holds on allocated memory, as JavaScript begins and ends them.

#include <stddef.h>

#include "bun_cuda_memory.h"
#include "memory/allocation.h"
#include "memory/hold.h"
#include "memory/lifecycle_lock.h"
#include "memory/pools.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

static double begin(const struct memory_allocation *allocation, bool is_view)
{
    enum memory_status status = allocated_memory_check(allocation);
    if (status != MEMORY_OK) return status;
    struct reserved_pool *reserved_pool = reserved_pool_of(allocation->place);
    struct hold *hold = hold_begin(reserved_pool == NULL ? NULL : &reserved_pool->pool,
                                   reserved_pool == NULL ? NULL : reserved_pool->region,
                                   whole_number(allocation->address),
                                   generation_of(allocation->origin), owner_of_thread(), is_view);
    if (hold != NULL) return (double)(uintptr_t)hold;
    return message_set(MEMORY_INTERNAL, "failed to hold %.0f bytes: the system refuses memory",
                       allocation->byte_size);
}

double memory_hold_begin(const struct memory_allocation *allocation, int32_t is_view)
{
    // No reset may come between the look at the memory and the hold on it.
    lifecycle_lock_shared();
    message_clear();
    double result = begin(allocation, is_view);
    lifecycle_unlock();
    return result;
}

void memory_hold_end(double hold)
{
    hold_end((struct hold *)(uintptr_t)hold);
}

void memory_view_end(void *bytes, void *hold)
{
    (void)bytes;
    hold_end(hold);
}
