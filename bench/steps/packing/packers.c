// Other ways to choose a place, simulated exactly and without regard to speed: blocks in address
// order that join their free neighbours at once, and the free ones in a tree.
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

// The same numbers are in packers.ts.
enum policy {
    BEST_FIT,  // the smallest that fits; of several the lowest
    FIRST_FIT, // the lowest that fits
    TWO_ENDS,  // best fit from two ends: see struct packer
};

enum end { LOW, HIGH, END_COUNT };

enum { NONE = 0, TWO_ENDS_LARGE_SHARE = 64 };

// Blocks are linked by address. The free ones are in a treap: a search tree by (key, start) that
// is a heap by priority as well, and so balanced at random.
struct block {
    uint64_t start;
    uint64_t size;
    uint64_t key;
    uint64_t largest; // of its subtree
    uint32_t previous;
    uint32_t next;
    uint32_t left;
    uint32_t right;
    uint32_t priority;
    bool is_free;
};

// With two ends, what takes at least 1/64 of the capacity is cut from the high end of free blocks
// that lie above the middle, everything else from the low end of those below it. The middle is the
// free block that neither has reached, and in no tree; an end that is full uses the other's blocks.
struct packer {
    enum policy policy;
    uint64_t capacity;
    struct block *blocks;
    uint32_t block_count;
    uint32_t spare; // linked by next
    uint32_t roots[END_COUNT];
    uint32_t middle; // NONE with one end
    uint32_t random_state;
};

// ---- The treap

static uint32_t random_priority(struct packer *packer)
{
    packer->random_state ^= packer->random_state << 13;
    packer->random_state ^= packer->random_state >> 17;
    packer->random_state ^= packer->random_state << 5;
    return packer->random_state;
}

static bool is_before(const struct block *a, const struct block *b)
{
    return a->key != b->key ? a->key < b->key : a->start < b->start;
}

static void update_largest(struct packer *packer, uint32_t number)
{
    struct block *block = &packer->blocks[number];
    uint64_t left = packer->blocks[block->left].largest;
    uint64_t right = packer->blocks[block->right].largest;
    uint64_t below = left > right ? left : right;
    block->largest = block->size > below ? block->size : below;
}

// Joins two trees. Everything in the left one must come before everything in the right one.
static uint32_t merge(struct packer *packer, uint32_t left, uint32_t right)
{
    if (left == NONE) return right;
    if (right == NONE) return left;
    struct block *blocks = packer->blocks;
    uint32_t root;
    if (blocks[left].priority > blocks[right].priority) {
        root = left;
        blocks[root].right = merge(packer, blocks[root].right, right);
    } else {
        root = right;
        blocks[root].left = merge(packer, left, blocks[root].left);
    }
    update_largest(packer, root);
    return root;
}

// Splits a tree into what comes before the pivot and what does not.
static void divide(struct packer *packer, uint32_t root, const struct block *pivot,
                   uint32_t *before, uint32_t *after)
{
    if (root == NONE) {
        *before = *after = NONE;
        return;
    }
    struct block *block = &packer->blocks[root];
    if (is_before(block, pivot)) {
        divide(packer, block->right, pivot, &block->right, after);
        *before = root;
    } else {
        divide(packer, block->left, pivot, before, &block->left);
        *after = root;
    }
    update_largest(packer, root);
}

static void insert_at(struct packer *packer, uint32_t *root, uint32_t number)
{
    struct block *block = &packer->blocks[number];
    if (*root != NONE && packer->blocks[*root].priority >= block->priority) {
        struct block *parent = &packer->blocks[*root];
        insert_at(packer, is_before(block, parent) ? &parent->left : &parent->right, number);
    } else {
        divide(packer, *root, block, &block->left, &block->right);
        *root = number;
    }
    update_largest(packer, *root);
}

static void remove_at(struct packer *packer, uint32_t *root, uint32_t number)
{
    if (*root == number) {
        *root = merge(packer, packer->blocks[number].left, packer->blocks[number].right);
        return;
    }
    struct block *parent = &packer->blocks[*root];
    bool goes_left = is_before(&packer->blocks[number], parent);
    remove_at(packer, goes_left ? &parent->left : &parent->right, number);
    update_largest(packer, *root);
}

// Returns the first block in the tree's order that is large enough, or NONE.
static uint32_t first_fitting(const struct packer *packer, uint32_t root, uint64_t size)
{
    const struct block *blocks = packer->blocks;
    if (blocks[root].largest < size) return NONE;
    for (;;) {
        uint32_t left = blocks[root].left;
        if (blocks[left].largest >= size) root = left;
        else if (blocks[root].size >= size) return root;
        else root = blocks[root].right;
    }
}

// ---- Free blocks

static enum end end_of(const struct packer *packer, const struct block *block)
{
    bool is_high = packer->middle != NONE && block->start > packer->blocks[packer->middle].start;
    return is_high ? HIGH : LOW;
}

static void add_free(struct packer *packer, uint32_t number)
{
    struct block *block = &packer->blocks[number];
    block->is_free = true;
    if (number == packer->middle) return;
    block->key = packer->policy == FIRST_FIT ? 0 : block->size;
    block->priority = random_priority(packer);
    block->left = block->right = NONE;
    insert_at(packer, &packer->roots[end_of(packer, block)], number);
}

static void remove_free(struct packer *packer, uint32_t number)
{
    struct block *block = &packer->blocks[number];
    block->is_free = false;
    if (number == packer->middle) return;
    remove_at(packer, &packer->roots[end_of(packer, block)], number);
}

static uint32_t find_with_two_ends(const struct packer *packer, enum end end, uint64_t size)
{
    uint32_t number = first_fitting(packer, packer->roots[end], size);
    if (number != NONE) return number;
    if (packer->blocks[packer->middle].size >= size) return packer->middle;
    return first_fitting(packer, packer->roots[1 - end], size);
}

// ---- Allocating and freeing

static uint32_t new_block(struct packer *packer)
{
    uint32_t number = packer->spare;
    if (number == NONE) return packer->block_count++;
    packer->spare = packer->blocks[number].next;
    return number;
}

static void link_after(struct packer *packer, uint32_t previous, uint32_t number)
{
    struct block *blocks = packer->blocks;
    blocks[number].previous = previous;
    blocks[number].next = blocks[previous].next;
    blocks[blocks[previous].next].previous = number;
    blocks[previous].next = number;
}

static void unlink_block(struct packer *packer, uint32_t number)
{
    struct block *block = &packer->blocks[number];
    packer->blocks[block->previous].next = block->next;
    packer->blocks[block->next].previous = block->previous;
    block->next = packer->spare;
    packer->spare = number;
}

// Cuts a live block off a free one. The rest keeps its number: so the middle stays the middle, even
// if nothing is left of it.
static uint32_t cut(struct packer *packer, uint32_t number, uint64_t size, enum end end)
{
    if (packer->blocks[number].size == size && number != packer->middle) {
        remove_free(packer, number);
        return number;
    }
    remove_free(packer, number);
    uint32_t live = new_block(packer);
    struct block *rest = &packer->blocks[number];
    rest->size -= size;
    packer->blocks[live] = (struct block){.size = size};
    if (end == LOW) {
        packer->blocks[live].start = rest->start;
        rest->start += size;
        link_after(packer, rest->previous, live);
    } else {
        packer->blocks[live].start = rest->start + rest->size;
        link_after(packer, number, live);
    }
    add_free(packer, number);
    return live;
}

// Returns the live block, or NONE.
static uint32_t allocate(struct packer *packer, uint64_t size)
{
    if (packer->policy != TWO_ENDS) {
        uint32_t number = first_fitting(packer, packer->roots[LOW], size);
        return number == NONE ? NONE : cut(packer, number, size, LOW);
    }
    bool is_large = size * TWO_ENDS_LARGE_SHARE >= packer->capacity;
    uint32_t number = find_with_two_ends(packer, is_large ? HIGH : LOW, size);
    if (number == NONE) return NONE;
    enum end end = is_large ? HIGH : LOW;
    if (number != packer->middle) end = end_of(packer, &packer->blocks[number]);
    return cut(packer, number, size, end);
}

static bool can_join(const struct packer *packer, uint32_t number)
{
    return number != NONE && packer->blocks[number].is_free;
}

// Joins `right` to `left`, its neighbour, neither of them in a tree. The middle's number stays.
static uint32_t join(struct packer *packer, uint32_t left, uint32_t right)
{
    struct block *blocks = packer->blocks;
    uint32_t kept = right == packer->middle ? right : left;
    uint32_t gone = kept == left ? right : left;
    if (kept == right) blocks[right].start = blocks[left].start;
    blocks[kept].size += blocks[gone].size;
    unlink_block(packer, gone);
    return kept;
}

static void release(struct packer *packer, uint32_t number)
{
    uint32_t previous = packer->blocks[number].previous;
    uint32_t next = packer->blocks[number].next;
    if (can_join(packer, previous)) {
        remove_free(packer, previous);
        number = join(packer, previous, number);
    }
    if (can_join(packer, next)) {
        remove_free(packer, next);
        number = join(packer, number, next);
    }
    add_free(packer, number);
}

// ---- Serving events

static void open_range(struct packer *packer)
{
    uint32_t whole = packer->block_count++;
    packer->blocks[whole] = (struct block){.size = packer->capacity};
    packer->blocks[NONE] = (struct block){.previous = whole, .next = whole};
    if (packer->policy == TWO_ENDS) packer->middle = whole;
    add_free(packer, whole);
}

static bool serve_all(struct packer *packer, const int32_t *events, uint32_t event_count,
                      const double *sizes, uint32_t *live)
{
    for (uint32_t i = 0; i < event_count; i++) {
        if (events[i] < 0) {
            release(packer, live[~events[i]]);
            continue;
        }
        live[events[i]] = allocate(packer, (uint64_t)sizes[events[i]]);
        if (live[events[i]] == NONE) return false;
    }
    return true;
}

// Returns 1 where a pool of this capacity serves all events, 0 where it does not, and -1 where
// there is no memory to find out. Event i allocates sizes[i], event ~i frees it. Sizes and capacity
// are counted in granules.
int32_t packer_serves(int32_t policy, double capacity, const int32_t *events, double event_count,
                      const double *sizes, double size_count)
{
    // A live block at most for each allocation, a free one beside each, NONE and the first.
    uint64_t block_count_max = 2 * (uint64_t)size_count + 2;
    struct packer packer = {
        .policy = (enum policy)policy,
        .capacity = (uint64_t)capacity,
        .blocks = malloc(block_count_max * sizeof(struct block)),
        .block_count = 1,
        .random_state = 1,
    };
    uint32_t *live = malloc((uint64_t)size_count * sizeof *live + 1);
    int32_t result = -1;
    if (packer.blocks != NULL && live != NULL) {
        open_range(&packer);
        result = serve_all(&packer, events, (uint32_t)event_count, sizes, live);
    }
    free(packer.blocks);
    free(live);
    return result;
}
