// Blocks that were freed with a stream: each goes back to where it came from when the stream has
// done what it had been given before.
//
// Nothing watches the streams. A block is taken back when somebody looks: when another block is
// freed with the same stream, when a pool is full, and when statistics are read. So all of this
// costs a program without streams one look at a counter, and only where a pool is full.
//
// A pool that cannot serve a request
//   1. takes back all blocks whose streams have got that far, and tries again;
//   2. for a request with a stream, hands on a block that was freed with the same stream: whatever
//      the request is used for on that stream comes after what used the block before;
//   3. for a request with a stream, hands on a block that was freed with another, and makes the
//      stream wait for the other: the caller does not wait;
//   4. waits for the block that was freed first of those that help: of those with which there would
//      be room enough in one piece, if they and all that were freed before them were taken back;
//   5. refuses.
// The caller may do without the 3rd and 4th. A request with a stream first looks for a block of
// exactly its size that was freed with the same stream, before the pool is asked at all.
//
// A block that is handed on is lent: what its last owner queued may still be ahead of it. Until that
// is known to be done, the new owner can only give it back to here, where it waits on, because
// whoever had it next might use it in no stream's order.
#ifndef DEFERRED_FREE_H
#define DEFERRED_FREE_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "pool/pool.h"

// Frees a pool's block, or non-pinned memory where the pool is null, after what the stream has been
// given so far. MEMORY_INVALID_ARG where no block lives there. Where it fails nothing has happened:
// the block lives. The caller holds the lifecycle lock.
int32_t deferred_free_block(struct pool *pool, uint64_t address, uint64_t generation,
                            const struct memory_stream *stream);

// Who asks for a block, beyond the pool and the size.
struct deferred_request {
    const struct memory_stream *stream; // null for none
    bool may_wait;
};

// pool_alloc(), where blocks of the pool may be waiting.
enum pool_status deferred_free_alloc(struct pool *pool, uint64_t byte_size,
                                     const struct deferred_request *request,
                                     struct pool_block *block, struct pool_stats *full);

// For a request that may wait and has no stream, after the pool has refused it.
__attribute__((cold)) enum pool_status deferred_free_alloc_refused(struct pool *pool,
                                                                   uint64_t byte_size,
                                                                   struct pool_block *block,
                                                                   struct pool_stats *full);

static inline enum pool_status deferred_free_pool_alloc(struct pool *pool, uint64_t byte_size,
                                                        struct pool_block *block,
                                                        struct pool_stats *full)
{
    enum pool_status status = pool_alloc(pool, byte_size, block, NULL);
    if (__builtin_expect(status == POOL_OK, 1)) return status;
    return deferred_free_alloc_refused(pool, byte_size, block, full);
}

__attribute__((cold)) enum pool_status deferred_free_lent(struct pool *pool, uint64_t address,
                                                          uint64_t generation);

// pool_free(), where blocks of the pool may be lent.
static inline enum pool_status deferred_free_pool_free(struct pool *pool, uint64_t address,
                                                       uint64_t generation)
{
    enum pool_status status = pool_free(pool, address, generation);
    if (__builtin_expect(status != POOL_LENT, 1)) return status;
    return deferred_free_lent(pool, address, generation);
}

// Takes back what can be.
void deferred_free_reclaim(void);

// Gives the pool's blocks back, or all non-pinned memory where the pool is null. All
// streams have done their work, and the caller holds the lifecycle lock exclusively.
void deferred_free_drop(struct pool *pool);

#endif
