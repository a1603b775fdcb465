#include "memory/region.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "cuda/lost.h"
#include "message.h"
#include "pool/pool.h"

enum { CUDA_HOST_ALLOC_PORTABLE = 1 };

// What CUDA guarantees of cudaMalloc. A pool needs an address that is a multiple of its granule.
enum { CUDA_MALLOC_ALIGNMENT = 256 };

_Static_assert(POOL_GRANULE_BYTE_SIZE == 2 * CUDA_MALLOC_ALIGNMENT,
               "a misaligned reservation is aligned by one step of CUDA's alignment");

struct region {
    struct region *next; // of the closed ones
    enum memory_type memory_type;
    int device;
    void *reservation;
    uint64_t byte_size;
    uint64_t user_count; // how many look at its memory
};

// Guards the list and the counts. No other lock is taken while it is held.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *closed_regions;
static _Atomic uint64_t closed_count; // read without the lock

// ---- Reserving and giving back

static enum memory_status reserve(struct region *region, uint64_t byte_size)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, region->device);
    if (status != MEMORY_OK) {
        message_add("so %.0f bytes for the %s memory pool of GPU %d cannot be reserved",
                    (double)byte_size, region->memory_type == MEMORY_GPU ? "CUDA" : "pinned",
                    region->device);
        return status;
    }
    if (region->memory_type == MEMORY_GPU) {
        status = cudart_check(CUDART(cudaMalloc(&region->reservation, byte_size)), "cudaMalloc",
                              "reserve %.0f bytes for the CUDA memory pool of GPU %d",
                              (double)byte_size, region->device);
    } else {
        int error =
            CUDART(cudaHostAlloc(&region->reservation, byte_size, CUDA_HOST_ALLOC_PORTABLE));
        status = cudart_check(error, "cudaHostAlloc",
                              "reserve %.0f bytes for the pinned memory pool", (double)byte_size);
    }
    if (status != MEMORY_OK) region->reservation = NULL;
    return device_scope_leave(&scope, status);
}

static enum memory_status give_back(struct region *region)
{
    if (cuda_is_lost()) {
        region->reservation = NULL; // the memory goes with the process
        return MEMORY_OK;
    }
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, region->device);
    if (status != MEMORY_OK) return status;
    if (region->memory_type == MEMORY_GPU) {
        status = cudart_check(CUDART(cudaFree(region->reservation)), "cudaFree",
                              "give back the CUDA memory pool of GPU %d", region->device);
    } else {
        status = cudart_check(CUDART(cudaFreeHost(region->reservation)), "cudaFreeHost",
                              "give back the pinned memory pool");
    }
    if (status == MEMORY_OK) region->reservation = NULL;
    return device_scope_leave(&scope, status);
}

static uint64_t misalignment_of(const struct region *region)
{
    return (uintptr_t)region->reservation % POOL_GRANULE_BYTE_SIZE;
}

static enum memory_status reserve_aligned(struct region *region)
{
    enum memory_status status = reserve(region, region->byte_size);
    if (status != MEMORY_OK || misalignment_of(region) == 0) return status;
    // A small reservation may lie between two granules. A larger one has room to align inside.
    status = give_back(region);
    if (status != MEMORY_OK) return status;
    return reserve(region, region->byte_size + POOL_GRANULE_BYTE_SIZE - CUDA_MALLOC_ALIGNMENT);
}

enum memory_status region_reserve(enum memory_type memory_type, int device, uint64_t byte_size,
                                  struct region **result, uint64_t *address)
{
    struct region *region = malloc(sizeof *region);
    if (region == NULL) {
        return message_set(MEMORY_INTERNAL,
                           "failed to reserve %.0f bytes for a memory pool: the "
                           "system refuses memory",
                           (double)byte_size);
    }
    *region = (struct region){.memory_type = memory_type, .device = device, .byte_size = byte_size};
    enum memory_status status = reserve_aligned(region);
    if (status != MEMORY_OK) {
        // What CUDA gave and did not take back is not lost.
        if (region->reservation != NULL) region_close(region);
        else free(region);
        return status;
    }
    *address = region_address(region);
    *result = region;
    return MEMORY_OK;
}

uint64_t region_address(const struct region *region)
{
    uint64_t misalignment = misalignment_of(region);
    uint64_t padding = misalignment == 0 ? 0 : POOL_GRANULE_BYTE_SIZE - misalignment;
    return (uintptr_t)region->reservation + padding;
}

uint64_t region_byte_size(const struct region *region)
{
    return region->byte_size;
}

bool region_give_back(struct region *region, enum memory_status *status)
{
    pthread_mutex_lock(&lock);
    bool is_used = region->user_count > 0;
    pthread_mutex_unlock(&lock);
    *status = is_used ? MEMORY_OK : give_back(region);
    if (region->reservation != NULL) return false;
    free(region);
    return true;
}

// ---- Closed regions

void region_close(struct region *region)
{
    pthread_mutex_lock(&lock);
    region->next = closed_regions;
    closed_regions = region;
    closed_count++;
    pthread_mutex_unlock(&lock);
}

static bool is_to_give_back(const struct region *region, enum memory_type memory_type)
{
    return region->memory_type == memory_type && region->user_count == 0;
}

// Takes the closed regions of a kind that nobody looks at out of the list, as a list.
static struct region *take_unused(enum memory_type memory_type)
{
    struct region *unused = NULL;
    pthread_mutex_lock(&lock);
    for (struct region **link = &closed_regions; *link != NULL;) {
        struct region *region = *link;
        if (!is_to_give_back(region, memory_type)) {
            link = &region->next;
            continue;
        }
        *link = region->next;
        closed_count--;
        region->next = unused;
        unused = region;
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

enum memory_status region_give_back_closed(enum memory_type memory_type)
{
    enum memory_status status = MEMORY_OK;
    struct region *next;
    for (struct region *region = take_unused(memory_type); region != NULL; region = next) {
        next = region->next;
        enum memory_status given_back = give_back(region);
        if (region->reservation == NULL) free(region);
        else region_close(region);
        if (given_back != MEMORY_OK) status = given_back;
    }
    return status;
}

// ---- Who looks at a region

void region_acquire(struct region *region)
{
    pthread_mutex_lock(&lock);
    region->user_count++;
    pthread_mutex_unlock(&lock);
}

void region_release(struct region *region)
{
    pthread_mutex_lock(&lock);
    region->user_count--;
    pthread_mutex_unlock(&lock);
}

uint64_t region_closed_count(void)
{
    return closed_count;
}

uint64_t region_set_aside_byte_size(enum memory_type memory_type, int device)
{
    uint64_t byte_size = 0;
    pthread_mutex_lock(&lock);
    for (const struct region *region = closed_regions; region != NULL; region = region->next) {
        bool is_asked_for = region->memory_type == memory_type &&
                            (memory_type != MEMORY_GPU || region->device == device);
        if (is_asked_for && region->user_count > 0) byte_size += region->byte_size;
    }
    pthread_mutex_unlock(&lock);
    return byte_size;
}
