// Opaque handles of objects. A handle is an address that nothing else has, and that is not used
// again. So a handle that was never given out, or whose object is gone, is told from the others
// without reading what it points to. The table's owner locks.
#ifndef HANDLE_TABLE_H
#define HANDLE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct handle_entry {
    uintptr_t handle;
    void *object;
};

// Entries are in ascending order. All zero is an empty table.
struct handle_table {
    // The address range that the handles are taken from starts here. 0 until the first is taken.
    uintptr_t start;
    size_t issued_count;
    struct handle_entry *entries;
    size_t count;
    size_t capacity;
};

// The new object's handle, or NULL when there is no memory.
void *handle_table_add(struct handle_table *table, void *object);

// The handle's object, or NULL when it has none.
void *handle_table_find(const struct handle_table *table, const void *handle);

// Removes the handle and gives its object, or NULL when it has none.
void *handle_table_remove(struct handle_table *table, const void *handle);

#endif
