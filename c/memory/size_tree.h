// Items by size, so that the smallest of those that are large enough is found in a time that grows with
// the logarithm of their number.
#ifndef SIZE_TREE_H
#define SIZE_TREE_H

#include <stdint.h>

// An item of a tree, which its owner makes part of something of its own. A tree is a pointer to its
// root, null while it is empty.
struct sized_item {
    struct sized_item *left, *right;
    uint64_t byte_size;
    uint64_t order; // unique; of items of one size the lower comes first
};

void size_tree_insert(struct sized_item **root, struct sized_item *item);

// The item is in the tree.
void size_tree_remove(struct sized_item **root, struct sized_item *item);

// The first item that has at least so many bytes, or null.
struct sized_item *size_tree_find(struct sized_item *root, uint64_t byte_size_min);

#endif
