#include "memory/nonpinned_memory.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *live_blocks; // the C library's balanced tree; a block's address is its key
static uint64_t live_count;
static uint64_t generation = 1;

static int compare_addresses(const void *a, const void *b)
{
    return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

static void *track(void *pointer, uint64_t *allocated_generation)
{
    pthread_mutex_lock(&lock);
    bool is_tracked = tsearch(pointer, &live_blocks, compare_addresses) != NULL;
    if (is_tracked) live_count++;
    *allocated_generation = generation;
    pthread_mutex_unlock(&lock);
    if (is_tracked) return pointer;
    free(pointer);
    return NULL;
}

void *nonpinned_memory_alloc(uint64_t byte_size, uint64_t *allocated_generation)
{
    void *pointer;
    if (posix_memalign(&pointer, POOL_GRANULE_BYTE_SIZE, byte_size) != 0) return NULL;
    return track(pointer, allocated_generation);
}

enum pool_status nonpinned_memory_forget(void *pointer, uint64_t wanted_generation)
{
    enum pool_status status = POOL_NOT_ALLOCATED;
    pthread_mutex_lock(&lock);
    if (wanted_generation != 0 && wanted_generation != generation) {
        status = POOL_CLOSED;
    } else if (tfind(pointer, &live_blocks, compare_addresses) != NULL) {
        assert(live_count > 0);
        tdelete(pointer, &live_blocks, compare_addresses);
        live_count--;
        status = POOL_OK;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

bool nonpinned_memory_free(void *pointer, uint64_t wanted_generation)
{
    enum pool_status status = nonpinned_memory_forget(pointer, wanted_generation);
    if (status == POOL_OK) free(pointer);
    return status != POOL_NOT_ALLOCATED;
}

void nonpinned_memory_reset(void)
{
    pthread_mutex_lock(&lock);
    tdestroy(live_blocks, free);
    live_blocks = NULL;
    live_count = 0;
    generation++;
    pthread_mutex_unlock(&lock);
}

uint64_t nonpinned_memory_count(void)
{
    pthread_mutex_lock(&lock);
    uint64_t count = live_count;
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
