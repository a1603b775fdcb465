// A sorted list of the live blocks of an address space. The table's owner locks.
#ifndef BLOCK_TABLE_H
#define BLOCK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block {
    uintptr_t start;
    size_t byte_size;
    // A block of device memory lies on this device. For a block of host memory, it is the device
    // that was current when the block was allocated.
    int device;
};

// Blocks are in ascending order, are not empty and do not overlap. All zero is an empty table.
struct block_table {
    struct block *blocks;
    size_t count;
    size_t capacity;
    // Sum of the blocks' sizes.
    size_t byte_size;
};

// The block in which the address lies, or NULL.
const struct block *block_table_find(const struct block_table *table, uintptr_t address);

// The live block that contains the whole range, or NULL.
const struct block *block_table_find_range(const struct block_table *table, uintptr_t address,
                                           size_t byte_size);

// False when there is no memory for the table.
bool block_table_insert(struct block_table *table, struct block block);

// Removes the block that starts at the address, and gives it and the position that it had, where the
// block after it is now. False when no block starts there.
bool block_table_remove(struct block_table *table, uintptr_t start, struct block *removed,
                        size_t *position);

#endif
