// A treap: items are ordered by size from left to right, and by a number that is as good as random
// from the root down, which keeps the tree as flat as random insertions would.

#include "memory/size_tree.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

static uint64_t rank_of(const struct sized_item *item)
{
    uint64_t hash = item->order * UINT64_C(0xFF51AFD7ED558CCD);
    return (hash ^ hash >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
}

static bool is_before(const struct sized_item *a, const struct sized_item *b)
{
    return a->byte_size != b->byte_size ? a->byte_size < b->byte_size : a->order < b->order;
}

void size_tree_insert(struct sized_item **root, struct sized_item *item)
{
    struct sized_item **link = root;
    while (*link != NULL && rank_of(*link) >= rank_of(item)) {
        link = is_before(*link, item) ? &(*link)->right : &(*link)->left;
    }
    // What the place has so far is divided into what comes before the item and what comes after it.
    struct sized_item *rest = *link;
    struct sized_item **before = &item->left, **after = &item->right;
    *link = item;
    while (rest != NULL) {
        if (is_before(rest, item)) {
            *before = rest;
            before = &rest->right;
            rest = rest->right;
        } else {
            *after = rest;
            after = &rest->left;
            rest = rest->left;
        }
    }
    *before = NULL;
    *after = NULL;
}

void size_tree_remove(struct sized_item **root, struct sized_item *item)
{
    struct sized_item **link = root;
    while (*link != item) {
        assert(*link != NULL);
        link = is_before(*link, item) ? &(*link)->right : &(*link)->left;
    }
    struct sized_item *left = item->left, *right = item->right;
    while (left != NULL && right != NULL) {
        if (rank_of(left) >= rank_of(right)) {
            *link = left;
            link = &left->right;
            left = left->right;
        } else {
            *link = right;
            link = &right->left;
            right = right->left;
        }
    }
    *link = left != NULL ? left : right;
}

struct sized_item *size_tree_find(struct sized_item *root, uint64_t byte_size_min)
{
    struct sized_item *found = NULL;
    while (root != NULL) {
        if (root->byte_size >= byte_size_min) {
            found = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return found;
}
