// Stream-ordered memory: memory that was freed on a stream, which may still use it.
//
// A block is *pending* from when it is freed on a stream until that stream has done what it had been
// given before; then it goes back to where it came from. A pending block may be *reused* before: by a
// request for the same stream, whose use of it comes after the earlier one by the order of the stream,
// or for another stream that is made to wait. It is live again then, but as long as the earlier use is
// not known to be over, its new owner can only give it back to here, where it becomes pending again:
// the next owner might use it in no stream's order.
//
// A pending block belongs to nobody, owner 0; a reused one belongs to its new owner.
//
// Nothing watches the streams. Pending blocks are taken back when somebody looks: when another block
// is freed on the same stream, when a pool is full, and when statistics are read. So all of this costs
// a program without streams one look at a counter, where a pool is full and where statistics are read.
//
// A pool that cannot serve a request
//   1. refuses at once what it could not serve if all of it were free;
//   2. takes back all blocks whose streams have got that far, and tries again;
//   3. for a request with a stream, reuses a block that is pending on the same stream;
//   4. for a request with a stream, reuses a block that is pending on another, and makes the stream
//      wait for the other: the caller does not wait;
//   5. refuses. No request waits for a GPU.
// A request with a stream looks for a block of exactly its size that is pending on the same stream
// before it asks the pool at all. A block that is reused is the smallest that is large enough.
//
// A block that was freed on several streams is pending until all of them have done with it, and is reused
// by nobody before.
//
// An event may tell an error instead of whether it has passed. Its block is then taken back when the
// stream is idle, or when the event is asked again and tells that it has passed; the blocks behind it do
// not wait for that.
#ifndef STREAM_ORDERED_H
#define STREAM_ORDERED_H

#include <stddef.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "pool/pool.h"

// Frees a block of a pool, or non-pinned memory where the pool is null, on streams, of which there is one at
// least: after what they have been given so far. MEMORY_INVALID_ARG, without a message, where no block lives there, or
// one of another owner, or one that was freed already; MEMORY_OK where it went when its pool was closed. After any other failure
// the block still lives. The caller holds the lifecycle lock.
enum memory_status stream_ordered_free(struct pool *pool, uint64_t address, uint64_t generation,
                                       uint32_t owner, const struct cuda_stream *streams,
                                       uint32_t stream_count);

// As pool_alloc(), with the five steps above; the stream is null for none. The caller of a request
// without a stream may have been refused by the pool already.
__attribute__((cold)) enum pool_status stream_ordered_alloc(struct pool *pool, uint64_t byte_size,
                                                            const struct pool_client *client,
                                                            const struct cuda_stream *stream,
                                                            struct pool_block *block,
                                                            struct pool_stats *full);

// The same for a request without a stream.

// Frees a block that pool_free() has refused with POOL_TAGGED.
__attribute__((cold)) enum pool_status stream_ordered_free_tagged(struct pool *pool,
                                                                  uint64_t address,
                                                                  uint64_t generation,
                                                                  uint32_t owner);

// As pool_free(), for blocks that may be pending or reused.
static inline enum pool_status stream_ordered_free_now(struct pool *pool, uint64_t address,
                                                       uint64_t generation, uint32_t owner)
{
    enum pool_status status = pool_free(pool, address, generation, owner);
    if (__builtin_expect(status != POOL_TAGGED, 1)) return status;
    return stream_ordered_free_tagged(pool, address, generation, owner);
}

// Takes back all blocks whose streams have got that far.
void stream_ordered_reclaim(void);

// Forgets the pool's blocks, or frees all pending non-pinned memory where the pool is null, because
// the pool is closed next. All streams have done their work, and the caller holds the lifecycle lock
// exclusively.
void stream_ordered_drop(struct pool *pool);

// Takes back blocks whose events have told errors, because all streams have done their work. The caller
// holds the lifecycle lock exclusively.
void stream_ordered_reclaim_errors(void);

#endif
