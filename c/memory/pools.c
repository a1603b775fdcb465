#include "memory/pools.h"

#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/lost.h"
#include "memory/place.h"
#include "message.h"
#include "whole_number.h"

static struct reserved_pool gpu_pools[DEVICE_COUNT_MAX + 1]; // the last serves all further ids
static struct reserved_pool pool_of_pinned_memory;

struct reserved_pool *gpu_pool(double device_id)
{
    return &gpu_pools[(int)(device_id < DEVICE_COUNT_MAX ? device_id : DEVICE_COUNT_MAX)];
}

struct reserved_pool *gpu_pool_of_memory(int32_t device)
{
    return &gpu_pools[device & (DEVICE_COUNT_MAX - 1)];
}

struct reserved_pool *pinned_pool(void)
{
    return &pool_of_pinned_memory;
}

struct reserved_pool *reserved_pool_of(double place)
{
    int32_t memory_type = memory_type_of_place(place);
    if (memory_type == MEMORY_GPU) return gpu_pool((double)device_id_of_place(place));
    return memory_type == MEMORY_CPU_PINNED ? &pool_of_pinned_memory : NULL;
}

int lowest_gpu_with_pool(void)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (gpu_pools[device].region != NULL) return device;
    }
    return -1;
}

// What is in GPU memory is lost, and nobody is to get any of it. Pinned memory is the host's.
static void refuse_gpu_memory(void)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) pool_refuse(&gpu_pools[device].pool);
}

enum memory_status reserved_pool_open(struct reserved_pool *reserved_pool,
                                      enum memory_type memory_type, int device, double byte_size)
{
    uint64_t granule_count = (whole_number(byte_size) - 1) / POOL_GRANULE_BYTE_SIZE + 1;
    uint64_t capacity = granule_count * POOL_GRANULE_BYTE_SIZE;
    struct region *region = NULL;
    uint64_t address = 0;
    enum memory_status status = region_reserve(memory_type, device, capacity, &region, &address);
    if (status != MEMORY_OK) return status;
    if (pool_open(&reserved_pool->pool, address, capacity) != POOL_OK) {
        message_add("failed to create a pool of %.0f bytes: no memory for its tables",
                    (double)capacity);
        region_close(region);
        return MEMORY_INTERNAL;
    }
    reserved_pool->region = region;
    cuda_on_lost(refuse_gpu_memory);
    if (cuda_is_lost()) refuse_gpu_memory();
    return MEMORY_OK;
}

void reserved_pool_close(struct reserved_pool *reserved_pool)
{
    pool_close(&reserved_pool->pool);
    if (reserved_pool->region != NULL) region_close(reserved_pool->region);
    reserved_pool->region = NULL;
}
