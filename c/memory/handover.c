#include "memory/handover.h"

#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "memory/allocation.h"
#include "memory/lifecycle_lock.h"
#include "memory/nonpinned_memory.h"
#include "memory/pools.h"
#include "memory/stream_ordered.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

struct detached {
    double id; // the key
    struct detached *previous, *next;
    struct memory_allocation allocation;
    uint64_t block_byte_size; // as the statistics count it
};

// Guards what follows. It is taken after the lifecycle lock, and before those of pools.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct detached *detached_memories;
static void *by_id; // the same, in the C library's balanced tree
static uint64_t last_id;

static int compare_ids(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

// Returns false where the system refuses memory.
static bool add(struct detached *detached)
{
    if (tsearch(detached, &by_id, compare_ids) == NULL) return false;
    detached->next = detached_memories;
    if (detached_memories != NULL) detached_memories->previous = detached;
    detached_memories = detached;
    return true;
}

static void remove_from_all(struct detached *detached)
{
    tdelete(detached, &by_id, compare_ids);
    if (detached->previous != NULL) detached->previous->next = detached->next;
    else detached_memories = detached->next;
    if (detached->next != NULL) detached->next->previous = detached->previous;
}

// Numbers of one process begin at a random place, so that a handle that strays into another process
// is nobody's there.
static double new_id(void)
{
    if (last_id == 0) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) {
            random = (uintptr_t)&last_id ^ (uint64_t)getpid() << 32;
        }
        last_id = random >> 12; // leaves room up to 2^53
    }
    return from_whole_number(++last_id);
}

static enum pool_status change_owner(const struct memory_allocation *allocation, uint32_t from,
                                     uint32_t to, uint64_t *block_byte_size)
{
    uint64_t address = whole_number(allocation->address);
    uint64_t generation = generation_of(allocation->origin);
    if (memory_type_of_place(allocation->place) == MEMORY_CPU) {
        return nonpinned_memory_exchange_owner((void *)(uintptr_t)address, generation, from, to,
                                               block_byte_size);
    }
    struct reserved_pool *reserved_pool = reserved_pool_of(allocation->place);
    return pool_exchange_owner(&reserved_pool->pool, address, generation, from, to,
                               block_byte_size);
}

// ---- Detaching

static enum memory_status refused(enum pool_status status)
{
    const char *reason = "it was freed, behind the back of its AllocatedMemory";
    if (status == POOL_CLOSED) reason = "it went when its manager was reset";
    if (status == POOL_TAGGED) {
        reason =
            "it is in use: a view of it was given away, it is held until a promise settles, or "
            "a stream has not done with it";
    }
    return message_set(MEMORY_UNAVAILABLE, "detach: the memory cannot be handed over: %s", reason);
}

// Returns the number of what is detached, or a status.
static double detach_locked(struct detached *detached, uint32_t owner)
{
    detached->id = new_id();
    if (!add(detached)) return message_set(MEMORY_INTERNAL, "detach: the system refuses memory");
    enum pool_status status =
        change_owner(&detached->allocation, owner, OWNER_PROCESS, &detached->block_byte_size);
    if (status == POOL_OK) return detached->id;
    remove_from_all(detached);
    return refused(status);
}

static double detach(const struct memory_allocation *allocation, uint32_t owner)
{
    struct detached *detached = malloc(sizeof *detached);
    if (detached == NULL) {
        return message_set(MEMORY_INTERNAL, "detach: the system refuses memory");
    }
    *detached = (struct detached){.allocation = *allocation};
    pthread_mutex_lock(&lock);
    double result = detach_locked(detached, owner);
    pthread_mutex_unlock(&lock);
    if (result < 0) free(detached);
    return result;
}

double memory_detach(const struct memory_allocation *allocation)
{
    stream_ordered_reclaim();
    lifecycle_lock_shared();
    message_clear();
    double result = detach(allocation, owner_of_origin(allocation->origin));
    lifecycle_unlock();
    return result;
}

// ---- Attaching

static struct detached *take(double id)
{
    pthread_mutex_lock(&lock);
    struct detached **found = tfind(&id, &by_id, compare_ids);
    struct detached *detached = found == NULL ? NULL : *found;
    if (detached != NULL) remove_from_all(detached);
    pthread_mutex_unlock(&lock);
    return detached;
}

static enum memory_status attach_locked(struct memory_allocation *allocation, double id,
                                        uint32_t owner)
{
    struct detached *detached = take(id);
    enum pool_status status = POOL_NOT_ALLOCATED;
    if (detached != NULL) {
        uint64_t block_byte_size;
        *allocation = detached->allocation;
        allocation->origin = origin_of(generation_of(allocation->origin), owner);
        allocation->owner = owner;
        status = change_owner(allocation, OWNER_PROCESS, owner, &block_byte_size);
        free(detached);
    }
    if (status == POOL_OK) return MEMORY_OK;
    return message_set(MEMORY_UNAVAILABLE,
                       "attach: there is no memory for this handle: it was attached already, went "
                       "when its manager was reset, or is of another process");
}

enum memory_status memory_attach(struct memory_allocation *allocation, double id)
{
    lifecycle_lock_shared();
    message_clear();
    enum memory_status status = attach_locked(allocation, id, (uint32_t)allocation->owner);
    lifecycle_unlock();
    return status;
}

// ---- Statistics

// Forgets what went when its manager was reset. The caller holds the lock.
static void drop_gone(void)
{
    struct detached *next;
    for (struct detached *detached = detached_memories; detached != NULL; detached = next) {
        next = detached->next;
        if (allocation_is_current(&detached->allocation)) continue;
        remove_from_all(detached);
        free(detached);
    }
}

uint64_t handover_byte_size(enum memory_type memory_type, int device)
{
    double asked_for = place_of(memory_type, memory_type == MEMORY_GPU ? device : 0);
    uint64_t byte_size = 0;
    pthread_mutex_lock(&lock);
    drop_gone();
    for (const struct detached *each = detached_memories; each != NULL; each = each->next) {
        if (each->allocation.place == asked_for) byte_size += each->block_byte_size;
    }
    pthread_mutex_unlock(&lock);
    return byte_size;
}
