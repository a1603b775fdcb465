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
    uint64_t alloc_count;
    // The number of system calls that have failed, or null where a test makes none fail. A call of
    // the pool may run out of metadata only where the number grew meanwhile.
    const uint64_t *fault_count;
};

enum pool_status checked_open(struct checked_pool *checked, uint64_t base, uint64_t byte_size);
void checked_close(struct checked_pool *checked);

enum pool_status checked_alloc(struct checked_pool *checked, uint64_t byte_size);

// The address and the generation may be wrong: the model knows whether they are.
enum pool_status checked_free(struct checked_pool *checked, uint64_t address, uint64_t generation);

// Sets the tag of the block to `desired` where it is `expected`.
enum pool_status checked_exchange_tag(struct checked_pool *checked, uint64_t address,
                                      uint64_t generation, uint32_t expected, uint32_t desired);

enum pool_status checked_free_tagged(struct checked_pool *checked, uint64_t address,
                                     uint64_t generation, uint32_t tag);

// The tests use the tags from 0 to this.
enum { TAG_COUNT = 3 };

// Makes one of the two calls with tags that follow from `choice`, which may be right or wrong.
void checked_use_tag(struct checked_pool *checked, uint64_t choice, uint64_t address,
                     uint64_t generation);

// Checks what the pool says of the block at the address: its tag, and how large the free block
// around it would be, for every choice of tags that count as free.
void checked_ask(struct checked_pool *checked, uint64_t address);

// Frees every live block, whatever its tag, from the last to the first.
void checked_free_all(struct checked_pool *checked);

// Checks that the statistics and the range are the model's. Reading them may put a pool's lists
// into an order that makes the next request easy, so tests do not call this after every call.
void checked_verify_stats(struct checked_pool *checked);

// Checks the same and every invariant, which takes a walk over the whole pool.
void checked_verify(struct checked_pool *checked);

#endif
