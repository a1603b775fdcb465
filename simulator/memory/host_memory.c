#include "memory/host_memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/block_table.h"

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block_table table;

static size_t physical_memory_byte_size(void)
{
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

// Maps memory, which has pages only where it was touched. The caller holds the lock.
static bool allocate_block(struct block *block)
{
    if (block->byte_size > physical_memory_byte_size() - table.byte_size) return false;
    void *memory = mmap(NULL, block->byte_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    block->start = (uintptr_t)memory;
    if (!block_table_insert(&table, *block)) {
        munmap(memory, block->byte_size);
        return false;
    }
    return true;
}

cudaError_t host_memory_allocate(int device, size_t byte_size, void **pointer)
{
    struct block block = {.start = 0, .byte_size = byte_size, .device = device};
    bool is_allocated = true;
    *pointer = NULL; // as CUDA leaves it when there is no memory
    if (byte_size != 0) {
        pthread_mutex_lock(&table_lock);
        is_allocated = allocate_block(&block);
        pthread_mutex_unlock(&table_lock);
    }
    if (!is_allocated) return cudaErrorMemoryAllocation;
    *pointer = (void *)block.start;
    return cudaSuccess;
}

cudaError_t host_memory_free(void *pointer)
{
    if (pointer == NULL) return cudaSuccess;
    struct block freed;
    size_t position;
    pthread_mutex_lock(&table_lock);
    bool is_live = block_table_remove(&table, (uintptr_t)pointer, &freed, &position);
    pthread_mutex_unlock(&table_lock);
    if (!is_live) return cudaErrorInvalidValue;
    munmap(pointer, freed.byte_size);
    return cudaSuccess;
}

void host_memory_usage(uint64_t *block_count, uint64_t *byte_size)
{
    pthread_mutex_lock(&table_lock);
    *block_count = table.count;
    *byte_size = table.byte_size;
    pthread_mutex_unlock(&table_lock);
}

bool host_memory_find(const void *pointer, size_t byte_size, int *device)
{
    pthread_mutex_lock(&table_lock);
    const struct block *block = block_table_find_range(&table, (uintptr_t)pointer, byte_size);
    if (block != NULL) *device = block->device;
    pthread_mutex_unlock(&table_lock);
    return block != NULL;
}
