#include "memory/allocation.h"

#include <stddef.h>

#include "memory/nonpinned_memory.h"
#include "memory/pools.h"

bool allocation_is_current(const struct memory_allocation *allocation)
{
    struct reserved_pool *reserved_pool =
        reserved_pool_of(allocation->memory_type, allocation->device_id);
    uint64_t current = reserved_pool == NULL ? nonpinned_memory_generation()
                                             : pool_generation(&reserved_pool->pool);
    return current == whole_number(allocation->generation);
}
