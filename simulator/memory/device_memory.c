#include "memory/device_memory.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/block_table.h"
#include "process/config.h"

// CUDA promises 256 bytes and no more.
#define PROMISED_ALIGNMENT 256
#define LARGE_BLOCK_SIZE ((size_t)1 << 20)

struct device_space {
    // Where device pointers lie. 0 until the device's memory is first used.
    uintptr_t start;
    char *alias;
    // The memory itself. Its pages exist only where something was written.
    int memory_file;
    struct block_table blocks;
};

static pthread_mutex_t spaces_lock = PTHREAD_MUTEX_INITIALIZER;
static struct device_space spaces[MAX_DEVICE_COUNT];

static size_t memory_bytes(const struct device_space *space)
{
    return config_get()->devices[space - spaces].memory_bytes;
}

static uintptr_t round_up(uintptr_t value, size_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

// Maps the device's two address ranges, if this is its first use.
static bool ensure_mapped(struct device_space *space)
{
    if (space->start != 0) return true;
    size_t size = memory_bytes(space);
    int file = memfd_create("cudart_sim device memory", MFD_CLOEXEC);
    if (file < 0) return false;
    char *alias = MAP_FAILED;
    if (ftruncate(file, (off_t)size) == 0) {
        alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    }
    if (alias == MAP_FAILED) {
        close(file);
        return false;
    }
    void *start = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        munmap(alias, size);
        close(file);
        return false;
    }
    space->start = (uintptr_t)start;
    space->alias = alias;
    space->memory_file = file;
    return true;
}

// Gives the lowest address that is `remainder` modulo `alignment` and has `size` free bytes.
static bool find_room(const struct device_space *space, size_t size, size_t alignment,
                      size_t remainder, uintptr_t *address)
{
    const struct block_table *table = &space->blocks;
    uintptr_t gap_start = space->start;
    for (size_t i = 0; i <= table->count; i++) {
        uintptr_t gap_end =
            i < table->count ? table->blocks[i].start : space->start + memory_bytes(space);
        uintptr_t candidate = round_up(gap_start - remainder, alignment) + remainder;
        if (candidate <= gap_end && size <= gap_end - candidate) {
            *address = candidate;
            return true;
        }
        if (i < table->count) gap_start = table->blocks[i].start + table->blocks[i].size;
    }
    return false;
}

// Small blocks are kept off every alignment above the promised one while there is room elsewhere,
// so that code that relies on more fails here and not on a customer's machine.
static bool place_block(const struct device_space *space, size_t size, uintptr_t *address)
{
    if (size >= LARGE_BLOCK_SIZE) return find_room(space, size, 2 * PROMISED_ALIGNMENT, 0, address);
    return find_room(space, size, 2 * PROMISED_ALIGNMENT, PROMISED_ALIGNMENT, address) ||
           find_room(space, size, PROMISED_ALIGNMENT, 0, address);
}

cudaError_t device_memory_allocate(int device, size_t size, void **pointer)
{
    struct block block = {.start = 0, .size = size, .device = device};
    struct device_space *space = &spaces[device];
    bool allocated = true;
    *pointer = NULL; // what CUDA leaves there when it runs out of memory
    if (size != 0) {
        pthread_mutex_lock(&spaces_lock);
        allocated = ensure_mapped(space) && place_block(space, size, &block.start) &&
                    block_table_insert(&space->blocks, block);
        pthread_mutex_unlock(&spaces_lock);
    }
    if (!allocated) return cudaErrorMemoryAllocation;
    // The block happens to be all zero. CUDA does not promise that, nor does the simulator.
    *pointer = (void *)block.start;
    return cudaSuccess;
}

// The space in whose address range the pointer lies, or NULL. The caller holds the lock.
static struct device_space *find_space(const void *pointer)
{
    for (int device = 0; device < config_get()->device_count; device++) {
        struct device_space *space = &spaces[device];
        if (space->start != 0 && (uintptr_t)pointer - space->start < memory_bytes(space)) {
            return space;
        }
    }
    return NULL;
}

// The live block in which the pointer lies, or NULL. The caller holds the lock.
static const struct block *find_block(const void *pointer)
{
    struct device_space *space = find_space(pointer);
    return space == NULL ? NULL : block_table_find(&space->blocks, (uintptr_t)pointer);
}

// Gives the pages of a freed block back to the system, with those that it shared with its
// neighbours if they are gone too. `next` is the position of the block after it.
static void return_pages(const struct device_space *space, const struct block *freed, size_t next)
{
    const struct block_table *table = &space->blocks;
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = freed->start / page_size * page_size;
    uintptr_t end = round_up(freed->start + freed->size, page_size);
    if (next > 0) {
        const struct block *previous = &table->blocks[next - 1];
        if (previous->start + previous->size > start) start = previous->start + previous->size;
    }
    if (next < table->count && table->blocks[next].start < end) end = table->blocks[next].start;
    // A failure only leaves the pages in use.
    (void)fallocate(space->memory_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    (off_t)(start - space->start), (off_t)(end - start));
}

cudaError_t device_memory_free(void *pointer)
{
    if (pointer == NULL) return cudaSuccess;
    pthread_mutex_lock(&spaces_lock);
    struct device_space *space = find_space(pointer);
    struct block freed;
    size_t position;
    bool found =
        space != NULL && block_table_remove(&space->blocks, (uintptr_t)pointer, &freed, &position);
    if (found) return_pages(space, &freed, position);
    pthread_mutex_unlock(&spaces_lock);
    return found ? cudaSuccess : cudaErrorInvalidValue;
}

void device_memory_usage(int device, uint64_t *block_count, uint64_t *byte_size)
{
    pthread_mutex_lock(&spaces_lock);
    *block_count = spaces[device].blocks.count;
    *byte_size = spaces[device].blocks.byte_size;
    pthread_mutex_unlock(&spaces_lock);
}

bool device_memory_find(const void *pointer, int *device)
{
    pthread_mutex_lock(&spaces_lock);
    const struct block *block = find_block(pointer);
    if (block != NULL) *device = block->device;
    pthread_mutex_unlock(&spaces_lock);
    return block != NULL;
}

enum device_range device_memory_locate(const void *pointer, size_t size, int *device, char **alias)
{
    enum device_range range = DEVICE_RANGE_OUTSIDE;
    uintptr_t address = (uintptr_t)pointer;
    pthread_mutex_lock(&spaces_lock);
    const struct device_space *space = find_space(pointer);
    if (space != NULL) {
        const struct block *block = block_table_find(&space->blocks, address);
        bool live = block != NULL && size <= block->size - (address - block->start);
        range = live ? DEVICE_RANGE_LIVE : DEVICE_RANGE_INVALID;
        *device = (int)(space - spaces);
        *alias = space->alias + (address - space->start);
    }
    pthread_mutex_unlock(&spaces_lock);
    return range;
}
