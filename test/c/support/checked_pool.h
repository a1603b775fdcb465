// A pool and its model, side by side: every call is made to the pool, its result is compared with
// what the model demands, and then the model is told.
//
// CHECK_TRACE=1 in the environment prints every call, which makes a report of a failing input.
#ifndef CHECKED_POOL_H
#define CHECKED_POOL_H

#include "pool/pool.h"
#include "pool_model.h"

// A zeroed one is a valid, closed pool.
struct checked_pool {
    struct pool pool;
    struct pool_model model;
    uint64_t generation; // 0 while closed
    bool is_refusing;
    uint64_t alloc_count;
    // The number of system calls that have failed, or null where a test makes none fail. A call of
    // the pool may run out of metadata only where the number grew meanwhile.
    const uint64_t *fault_count;
};

enum pool_status checked_open(struct checked_pool *checked, uint64_t base, uint64_t byte_size);
void checked_close(struct checked_pool *checked);

// Makes the pool refuse requests until it is closed.
void checked_refuse(struct checked_pool *checked);

// Allocates for one owner after another.
enum pool_status checked_alloc(struct checked_pool *checked, uint64_t byte_size);

// Frees for the owner that the block has, or for any, where one lives there. The address and the
// generation may be wrong: the model knows whether they are.
enum pool_status checked_free(struct checked_pool *checked, uint64_t address, uint64_t generation);

// The same for an owner, who may be another.
enum pool_status checked_free_for(struct checked_pool *checked, uint64_t address,
                                  uint64_t generation, uint32_t owner);

enum pool_status checked_exchange_mark(struct checked_pool *checked, uint64_t address,
                                       uint64_t generation, struct pool_mark expected,
                                       struct pool_mark desired);

enum pool_status checked_free_marked(struct checked_pool *checked, uint64_t address,
                                     uint64_t generation, struct pool_mark mark);

// The tests use the tags from 0 to the first, and as many owners as the second says.
enum { TAG_COUNT = 3, OWNER_COUNT = 3 };

// Makes one of the calls with marks and owners that follow from `choice`, which may be right or wrong.
void checked_use_mark(struct checked_pool *checked, uint64_t choice, uint64_t address,
                      uint64_t generation);

// Checks that the pool finds for each owner exactly the blocks that the owner has.
void checked_find(struct checked_pool *checked);

// Frees every live block, whatever its tag, from the last to the first.
void checked_free_all(struct checked_pool *checked);

// Checks that the statistics and the range are the model's. Reading them may put a pool's lists
// into an order that makes the next request easy, so tests do not call this after every call.
void checked_verify_stats(struct checked_pool *checked);

// Checks the same, every invariant, and what owners have, which takes walks over the whole pool.
void checked_verify(struct checked_pool *checked);

#endif
