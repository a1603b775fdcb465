#include "memory/host_memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/block_table.h"

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block_table table;

static size_t physical_memory_bytes(void)
{
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

// The caller holds the lock. The memory has pages only where it was touched.
static bool allocate_block(struct block *block)
{
    if (block->size > physical_memory_bytes() - table.byte_size) return false;
    void *memory = mmap(NULL, block->size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    block->start = (uintptr_t)memory;
    if (!block_table_insert(&table, *block)) {
        munmap(memory, block->size);
        return false;
    }
    return true;
}

cudaError_t host_memory_allocate(int device, size_t size, void **pointer)
{
    struct block block = {.start = 0, .size = size, .device = device};
    bool allocated = true;
    *pointer = NULL; // what CUDA leaves there when it runs out of memory
    if (size != 0) {
        pthread_mutex_lock(&table_lock);
        allocated = allocate_block(&block);
        pthread_mutex_unlock(&table_lock);
    }
    if (!allocated) return cudaErrorMemoryAllocation;
    *pointer = (void *)block.start;
    return cudaSuccess;
}

cudaError_t host_memory_free(void *pointer)
{
    if (pointer == NULL) return cudaSuccess;
    struct block freed;
    size_t position;
    pthread_mutex_lock(&table_lock);
    bool found = block_table_remove(&table, (uintptr_t)pointer, &freed, &position);
    pthread_mutex_unlock(&table_lock);
    if (!found) return cudaErrorInvalidValue;
    munmap(pointer, freed.size);
    return cudaSuccess;
}

void host_memory_usage(uint64_t *block_count, uint64_t *byte_size)
{
    pthread_mutex_lock(&table_lock);
    *block_count = table.count;
    *byte_size = table.byte_size;
    pthread_mutex_unlock(&table_lock);
}

bool host_memory_find(const void *pointer, size_t size, int *device)
{
    uintptr_t address = (uintptr_t)pointer;
    pthread_mutex_lock(&table_lock);
    const struct block *block = block_table_find(&table, address);
    bool found = block != NULL && size <= block->size - (address - block->start);
    if (found) *device = block->device;
    pthread_mutex_unlock(&table_lock);
    return found;
}
