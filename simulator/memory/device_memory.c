#include "memory/device_memory.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/block_table.h"
#include "process/config.h"

// CUDA promises blocks that are aligned to 256 bytes, and no more.
#define PROMISED_ALIGNMENT 256
#define LARGE_BLOCK_BYTE_SIZE ((size_t)1 << 20)

struct device_space {
    // The range in which device pointers lie starts here. 0 until the device's memory is first used.
    uintptr_t start;
    // The range through which the bytes are reached starts here.
    char *alias;
    // The file behind the alias has pages only where something was written.
    int memory_file;
    struct block_table blocks;
};

static pthread_mutex_t spaces_lock = PTHREAD_MUTEX_INITIALIZER;
static struct device_space spaces[DEVICE_COUNT_MAX];

static size_t memory_byte_size(const struct device_space *space)
{
    return config_get()->devices[space - spaces].memory_byte_size;
}

static uintptr_t round_up(uintptr_t value, size_t alignment)
{
    return (value + alignment - 1) / alignment * alignment;
}

// Maps the device's two address ranges, if this is its first use.
static bool ensure_mapped(struct device_space *space)
{
    if (space->start != 0) return true;
    size_t byte_size = memory_byte_size(space);
    int file = memfd_create("cudart_sim device memory", MFD_CLOEXEC);
    if (file < 0) return false;
    char *alias = MAP_FAILED;
    if (ftruncate(file, (off_t)byte_size) == 0) {
        alias = mmap(NULL, byte_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    }
    if (alias == MAP_FAILED) {
        close(file);
        return false;
    }
    void *start =
        mmap(NULL, byte_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        munmap(alias, byte_size);
        close(file);
        return false;
    }
    space->start = (uintptr_t)start;
    space->alias = alias;
    space->memory_file = file;
    return true;
}

// Gives the lowest address that is `remainder` modulo `alignment` and has so many free bytes.
static bool find_room(const struct device_space *space, size_t byte_size, size_t alignment,
                      size_t remainder, uintptr_t *address)
{
    const struct block_table *table = &space->blocks;
    uintptr_t gap_start = space->start;
    for (size_t i = 0; i <= table->count; i++) {
        uintptr_t gap_end =
            i < table->count ? table->blocks[i].start : space->start + memory_byte_size(space);
        uintptr_t candidate = round_up(gap_start - remainder, alignment) + remainder;
        if (candidate <= gap_end && byte_size <= gap_end - candidate) {
            *address = candidate;
            return true;
        }
        if (i < table->count) gap_start = table->blocks[i].start + table->blocks[i].byte_size;
    }
    return false;
}

// Small blocks are kept off every alignment above the promised one while there is room elsewhere,
// so that code that relies on more fails here and not on a customer's machine.
static bool place_block(const struct device_space *space, size_t byte_size, uintptr_t *address)
{
    if (byte_size >= LARGE_BLOCK_BYTE_SIZE) {
        return find_room(space, byte_size, 2 * PROMISED_ALIGNMENT, 0, address);
    }
    return find_room(space, byte_size, 2 * PROMISED_ALIGNMENT, PROMISED_ALIGNMENT, address) ||
           find_room(space, byte_size, PROMISED_ALIGNMENT, 0, address);
}

cudaError_t device_memory_allocate(int device, size_t byte_size, void **pointer)
{
    assert(config_has_device(device));
    struct block block = {.start = 0, .byte_size = byte_size, .device = device};
    struct device_space *space = &spaces[device];
    bool is_allocated = true;
    *pointer = NULL; // as CUDA leaves it when there is no memory
    if (byte_size != 0) {
        pthread_mutex_lock(&spaces_lock);
        is_allocated = ensure_mapped(space) && place_block(space, byte_size, &block.start) &&
                       block_table_insert(&space->blocks, block);
        pthread_mutex_unlock(&spaces_lock);
    }
    if (!is_allocated) return cudaErrorMemoryAllocation;
    // The block's bytes happen to be zero. CUDA does not promise that, nor does the simulator.
    *pointer = (void *)block.start;
    return cudaSuccess;
}

// The space in whose address range the pointer lies, or NULL. The caller holds the lock.
static struct device_space *find_space(const void *pointer)
{
    for (int device = 0; device < config_get()->device_count; device++) {
        struct device_space *space = &spaces[device];
        if (space->start != 0 && (uintptr_t)pointer - space->start < memory_byte_size(space)) {
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

// Gives the pages of a freed block back to the system. A page that the block shared with its
// neighbours goes back when these are freed too. `next` is the position of the block after it.
static void return_pages(const struct device_space *space, const struct block *freed, size_t next)
{
    const struct block_table *table = &space->blocks;
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = freed->start / page_size * page_size;
    uintptr_t end = round_up(freed->start + freed->byte_size, page_size);
    if (next > 0) {
        const struct block *previous = &table->blocks[next - 1];
        uintptr_t previous_end = previous->start + previous->byte_size;
        if (previous_end > start) start = previous_end;
    }
    if (next < table->count && table->blocks[next].start < end) end = table->blocks[next].start;
    assert(start <= freed->start && freed->start + freed->byte_size <= end);
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
    bool is_live =
        space != NULL && block_table_remove(&space->blocks, (uintptr_t)pointer, &freed, &position);
    if (is_live) return_pages(space, &freed, position);
    pthread_mutex_unlock(&spaces_lock);
    return is_live ? cudaSuccess : cudaErrorInvalidValue;
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

enum device_range device_memory_locate(const void *pointer, size_t byte_size, int *device,
                                       char **alias)
{
    enum device_range range = DEVICE_RANGE_OUTSIDE;
    uintptr_t address = (uintptr_t)pointer;
    pthread_mutex_lock(&spaces_lock);
    const struct device_space *space = find_space(pointer);
    if (space != NULL) {
        bool is_live = block_table_find_range(&space->blocks, address, byte_size) != NULL;
        range = is_live ? DEVICE_RANGE_LIVE : DEVICE_RANGE_INVALID;
        *device = (int)(space - spaces);
        *alias = space->alias + (address - space->start);
    }
    pthread_mutex_unlock(&spaces_lock);
    return range;
}
