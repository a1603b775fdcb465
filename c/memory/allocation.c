#include "memory/allocation.h"

#include <stddef.h>

#include "memory/nonpinned_memory.h"
#include "memory/pools.h"

bool allocation_is_current(const struct memory_allocation *allocation)
{
    struct reserved_pool *reserved_pool = reserved_pool_of(allocation->place);
    uint64_t current = reserved_pool == NULL ? nonpinned_memory_generation()
                                             : pool_generation(&reserved_pool->pool);
    return current == generation_of(allocation->origin);
}

enum pool_status allocation_check(const struct memory_allocation *allocation)
{
    if (is_borrowed(allocation)) return POOL_OK;
    uint32_t owner = owner_of_origin(allocation->origin);
    uint64_t address = block_address_of(allocation);
    uint64_t generation = generation_of(allocation->origin);
    struct reserved_pool *reserved_pool = reserved_pool_of(allocation->place);
    if (reserved_pool == NULL) {
        return nonpinned_memory_check((void *)(uintptr_t)address, generation, owner);
    }
    // Exchanging a mark for itself changes nothing.
    struct pool_mark mark = {.owner = owner};
    enum pool_status status =
        pool_exchange_mark(&reserved_pool->pool, address, generation, &mark, mark, NULL);
    return status == POOL_TAGGED ? POOL_OK : status;
}
