// A pool and its model, side by side: every call is made to the pool, its result is compared with
// what the model demands, and then the model is told.
//
// CHECK_TRACE=1 in the environment prints every call, which makes a report of a failing input.
#ifndef CHECKED_POOL_H
#define CHECKED_POOL_H

#include "pool/pool.h"
#include "pool_model.h"

// All zero is a closed one.
struct checked_pool {
    struct pool pool;
    struct pool_model model;
    uint64_t generation; // 0 while closed
    uint64_t alloc_count;
    // Where a test makes system calls fail, the number that failed so far. Only a call during which
    // it grew may run out of metadata.
    const uint64_t *fault_count;
};

enum pool_status checked_open(struct checked_pool *checked, uint64_t base, uint64_t byte_size);
void checked_close(struct checked_pool *checked);

enum pool_status checked_alloc(struct checked_pool *checked, uint64_t byte_size);

// Right and wrong frees alike: the model knows which it is.
enum pool_status checked_free(struct checked_pool *checked, uint64_t address, uint64_t generation);

// Gives the block the tag `desired` where its tag is `expected`.
enum pool_status checked_exchange_tag(struct checked_pool *checked, uint64_t address,
                                      uint64_t generation, uint32_t expected, uint32_t desired);

enum pool_status checked_free_tagged(struct checked_pool *checked, uint64_t address,
                                     uint64_t generation, uint32_t tag);

// The tags that the tests use, besides 0.
enum { TAG_COUNT = 3 };

// One of the two calls, with tags drawn from `choice`: right and wrong ones alike.
void checked_use_tag(struct checked_pool *checked, uint64_t choice, uint64_t address,
                     uint64_t generation);

// What the pool says of the block at the address: its tag, and how large the free block around it
// would be, for every choice of tags that count as free.
void checked_ask(struct checked_pool *checked, uint64_t address);

// Frees every live block, whatever its tag, from the last to the first.
void checked_free_all(struct checked_pool *checked);

// The statistics are the model's, and so is the range. Asking for them may put a pool's lists in an
// order that makes the next request easy, so that not every call may be followed by this.
void checked_verify_stats(struct checked_pool *checked);

// And every invariant holds, which takes a walk over the whole pool.
void checked_verify(struct checked_pool *checked);

#endif
