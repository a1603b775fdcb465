#include "memory/pools.h"

#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/device_memory.h"
#include "cuda/lost.h"
#include "memory/place.h"
#include "message.h"
#include "whole_number.h"

// What CUDA reserves a GPU's memory in.
enum { CUDA_BLOCK_BYTE_SIZE = 2 * 1024 * 1024 };

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

static uint64_t rounded_up(uint64_t byte_size, uint64_t unit)
{
    return (byte_size - 1) / unit * unit + unit;
}

static uint64_t capacity_for(double byte_size)
{
    return rounded_up(whole_number(byte_size), POOL_GRANULE_BYTE_SIZE);
}

static enum memory_status no_tables(uint64_t capacity)
{
    message_add("failed to create a pool of %.0f bytes: no memory for its tables",
                (double)capacity);
    return MEMORY_INTERNAL;
}

// The pool is open on the region.
static void take_region(struct reserved_pool *reserved_pool, struct region *region)
{
    reserved_pool->region = region;
    cuda_on_lost(refuse_gpu_memory);
    if (cuda_is_lost()) refuse_gpu_memory();
}

enum memory_status reserved_pool_open(struct reserved_pool *reserved_pool,
                                      enum memory_type memory_type, int device, double byte_size)
{
    uint64_t capacity = capacity_for(byte_size);
    struct region *region = NULL;
    uint64_t address = 0;
    enum memory_status status = region_reserve(memory_type, device, capacity, &region, &address);
    if (status != MEMORY_OK) return status;
    if (pool_open(&reserved_pool->pool, address, capacity) != POOL_OK) {
        region_close(region);
        return no_tables(capacity);
    }
    take_region(reserved_pool, region);
    return MEMORY_OK;
}

void reserved_pool_close(struct reserved_pool *reserved_pool)
{
    pool_close(&reserved_pool->pool);
    if (reserved_pool->region != NULL) region_close(reserved_pool->region);
    reserved_pool->region = NULL;
}

// ---- Resizing

static enum memory_status in_use(struct reserved_pool *reserved_pool, int device)
{
    struct pool_stats stats = {0};
    (void)pool_read_stats(&reserved_pool->pool, &stats);
    return message_set(MEMORY_UNAVAILABLE,
                       "failed to resize the CUDA memory pool of GPU %d: memory of it is in use "
                       "(%.0f of %.0f bytes, in %.0f allocations)",
                       device, (double)stats.used_byte_size, (double)stats.capacity_byte_size,
                       (double)stats.allocation_count);
}

// Gives back a region that was a pool's. What cannot be given back now is tried again later.
static enum memory_status let_go(struct region *region)
{
    enum memory_status status;
    if (region == NULL) return MEMORY_OK;
    if (!region_give_back(region, &status)) region_close(region);
    bool is_told = status == MEMORY_OK || status == MEMORY_DEVICE_LOST;
    return is_told ? status : MEMORY_OK_WITH_WARNINGS;
}

static enum memory_status close_unused(struct reserved_pool *reserved_pool, int device)
{
    if (pool_close_unused(&reserved_pool->pool) != POOL_OK) return in_use(reserved_pool, device);
    struct region *region = reserved_pool->region;
    reserved_pool->region = NULL;
    return let_go(region);
}

static enum memory_status move_to(struct reserved_pool *reserved_pool, int device,
                                  struct region *region)
{
    enum pool_status status =
        pool_reopen(&reserved_pool->pool, region_address(region), region_byte_size(region));
    if (status == POOL_OK) {
        struct region *before = reserved_pool->region;
        take_region(reserved_pool, region);
        return let_go(before);
    }
    enum memory_status refused =
        status == POOL_IN_USE ? in_use(reserved_pool, device) : no_tables(region_byte_size(region));
    (void)let_go(region); // a failure is in the message too
    return refused;
}

// Whether a reservation, which was refused for lack of memory, may succeed once the pool's is given back.
static bool may_fit_in_its_place(const struct reserved_pool *reserved_pool, int device,
                                 uint64_t capacity)
{
    struct memory_failure failure;
    memory_last_failure(&failure);
    if (reserved_pool->region == NULL) return false;
    if (failure.cuda_error != CUDA_ERROR_MEMORY_ALLOCATION) return false;
    struct device_memory memory;
    if (device_memory_read(device, &memory) != MEMORY_OK) return false;
    double byte_size = (double)region_byte_size(reserved_pool->region);
    double taken_byte_size = (double)rounded_up(capacity, CUDA_BLOCK_BYTE_SIZE);
    bool has_room_beside_it = memory.free_byte_size >= taken_byte_size;
    bool has_room = memory.free_byte_size + byte_size >= (double)capacity;
    if (has_room && !has_room_beside_it) return true;
    message_add("GPU %d has %.0f bytes free, and the pool that it has, and keeps, %.0f", device,
                memory.free_byte_size, byte_size);
    return false;
}

// Opens the pool again on the memory that it had, which could not be given back.
static void reopen(struct reserved_pool *reserved_pool, int device, struct region *region)
{
    if (pool_open(&reserved_pool->pool, region_address(region), region_byte_size(region)) ==
        POOL_OK) {
        take_region(reserved_pool, region);
        return;
    }
    (void)no_tables(region_byte_size(region));
    message_add("GPU %d has no CUDA memory pool any more", device);
    region_close(region);
}

// Gives the pool's memory back before other memory is reserved.
static enum memory_status replace(struct reserved_pool *reserved_pool, int device, double byte_size)
{
    message_clear();
    if (pool_close_unused(&reserved_pool->pool) != POOL_OK) return in_use(reserved_pool, device);
    struct region *before = reserved_pool->region;
    double byte_size_before = (double)region_byte_size(before);
    reserved_pool->region = NULL;
    enum memory_status status;
    if (!region_give_back(before, &status)) {
        reopen(reserved_pool, device, before);
        return status == MEMORY_OK ? in_use(reserved_pool, device) : status;
    }
    if (status == MEMORY_OK) {
        status = reserved_pool_open(reserved_pool, MEMORY_GPU, device, byte_size);
    }
    if (status == MEMORY_OK) return MEMORY_OK;
    (void)region_give_back_closed(MEMORY_GPU); // if there are no tables for the pool
    if (reserved_pool_open(reserved_pool, MEMORY_GPU, device, byte_size_before) != MEMORY_OK) {
        message_add("GPU %d has no CUDA memory pool any more: that of %.0f bytes, which was given "
                    "back, cannot be made again",
                    device, byte_size_before);
    }
    return status;
}

enum memory_status reserved_pool_resize(struct reserved_pool *reserved_pool, int device,
                                        double byte_size)
{
    struct pool_stats stats = {0}; // as they are without a pool
    (void)pool_read_stats(&reserved_pool->pool, &stats);
    if (stats.allocation_count > 0) return in_use(reserved_pool, device);
    if (byte_size == 0) return close_unused(reserved_pool, device);
    uint64_t capacity = capacity_for(byte_size);
    if (capacity == stats.capacity_byte_size) return MEMORY_OK;
    struct region *region = NULL;
    uint64_t address = 0;
    enum memory_status status = region_reserve(MEMORY_GPU, device, capacity, &region, &address);
    if (status == MEMORY_OK) return move_to(reserved_pool, device, region);
    if (!may_fit_in_its_place(reserved_pool, device, capacity)) return status;
    return replace(reserved_pool, device, byte_size);
}
