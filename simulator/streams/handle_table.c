#include "streams/handle_table.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Handles are as far apart as the addresses that malloc gives.
#define HANDLE_BYTE_DISTANCE 16
#define HANDLE_COUNT_MAX ((size_t)1 << 30)

_Static_assert(HANDLE_COUNT_MAX <= SIZE_MAX / HANDLE_BYTE_DISTANCE,
               "the range of the handles has a size");

// No memory stands behind the range, so that code that reads what a handle points to crashes.
static bool ensure_range(struct handle_table *table)
{
    if (table->start != 0) return true;
    void *start = mmap(NULL, HANDLE_COUNT_MAX * HANDLE_BYTE_DISTANCE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return false;
    table->start = (uintptr_t)start;
    return true;
}

static bool make_room(struct handle_table *table)
{
    if (table->count < table->capacity) return true;
    size_t capacity = table->capacity == 0 ? 64 : 2 * table->capacity;
    struct handle_entry *grown = realloc(table->entries, capacity * sizeof *grown);
    if (grown == NULL) return false;
    table->entries = grown;
    table->capacity = capacity;
    return true;
}

void *handle_table_add(struct handle_table *table, void *object)
{
    if (table->issued_count == HANDLE_COUNT_MAX || !ensure_range(table) || !make_room(table)) {
        return NULL;
    }
    uintptr_t handle = table->start + HANDLE_BYTE_DISTANCE * table->issued_count++;
    assert(table->count == 0 || table->entries[table->count - 1].handle < handle);
    table->entries[table->count++] = (struct handle_entry){handle, object};
    return (void *)handle;
}

static struct handle_entry *find_entry(const struct handle_table *table, const void *handle)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct handle_entry *entry = &table->entries[middle];
        if (entry->handle == (uintptr_t)handle) return entry;
        if (entry->handle < (uintptr_t)handle) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

void *handle_table_find(const struct handle_table *table, const void *handle)
{
    const struct handle_entry *entry = find_entry(table, handle);
    return entry == NULL ? NULL : entry->object;
}

void *handle_table_remove(struct handle_table *table, const void *handle)
{
    struct handle_entry *entry = find_entry(table, handle);
    if (entry == NULL) return NULL;
    void *object = entry->object;
    size_t position = (size_t)(entry - table->entries);
    memmove(entry, entry + 1, (table->count - position - 1) * sizeof *entry);
    table->count--;
    return object;
}
