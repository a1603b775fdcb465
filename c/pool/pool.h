// A pool: one contiguous range of addresses, handed out in blocks.
//
// The pool never touches the memory that it manages, which may be a GPU's: everything it knows is
// in tables of its own, and it knows nothing of CUDA. Every call is thread-safe. Allocating and
// freeing take a time that does not depend on how many blocks live, with one exception: before a
// request is refused that a block of its own bin might serve, that bin is searched to its end. What
// the search learns is kept, so that the next such request is refused at once.
//
// Blocks.   The range is divided into granules of 512 bytes. A block is a run of granules, free or
//           live; one 32-byte node describes it. Nodes are linked in address order, so a freed
//           block finds both neighbours and coalesces with the free ones at once: two free blocks
//           are never neighbours.
// Sides.    Small requests are served from the low end of the range and large ones from the high
//           end, so that a small block that lives long does not split a large hole. Large is what
//           takes at least 1/48 of the pool and belongs to the larger half of the live bytes.
//           Between the two sides lies the wilderness, which nothing has touched: a side splits
//           from it only what its own free blocks cannot serve, and a free block that reaches it
//           becomes part of it again. A side that is full borrows from the other.
// Bins.     A side lists its free blocks by size: sizes below 1,024 granules have a bin each, and
//           above that every power of two is divided into 64 bins. Bitmaps of the non-empty bins
//           make "the next bin that fits" two bit scans. Where the sizes of a bin differ, the best
//           of its first few blocks is taken, which packs as exact best fit does.
// Index.    A live block is found by its address in a chained hash table, whose links are in the
//           nodes. The table grows by one bucket at a time (linear hashing), so that no single
//           request pays for a rehash of all.
// Owners.   A live block has an owner, a number from 0 to POOL_OWNER_MAX that is the caller's, and
//           who names another does not find it. POOL_ANY_OWNER finds the blocks of all.
// Accounts. A live block may have an account, which it is charged to from when it is allocated until it
//           is free again, whatever becomes of its owner and its tag.
// Waiting.  A pool that somebody waits for is full for all requests of those who have not waited.
// Tags.     A live block has a tag, which is 0 from when it is allocated. A caller that keeps a block
//           from being freed, because a GPU still uses it, gives it a tag of its own choice;
//           pool_free() then refuses it with POOL_TAGGED.
// Lock.     One per pool, held for some tens of nanoseconds; some microseconds for a piece of
//           pool_find_owned().
#ifndef POOL_H
#define POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/layout.h"

enum pool_status {
    POOL_OK,
    POOL_CLOSED,          // not open, or reopened since the generation that was asked for
    POOL_REFUSING,        // open, but serves no request any more
    POOL_FULL,            // no free block is large enough
    POOL_AWAITED,         // what is free goes to those who wait for it
    POOL_OVER_LIMIT,      // the account may not have as much
    POOL_ACCOUNT_ENDED,   // the key is not that of an account any more
    POOL_TOO_LARGE,       // the request is for more than the whole pool
    POOL_OUT_OF_METADATA, // the system refuses memory for the pool's own tables
    POOL_NOT_ALLOCATED,   // the address is not that of a live block of this owner
    POOL_TAGGED,          // the block has another tag than the call is for
    POOL_IN_USE,          // blocks live in the pool
    POOL_BAD_RANGE,       // misaligned, empty, or beyond the address space
};

struct pool_stats {
    uint64_t capacity_byte_size;
    uint64_t used_byte_size; // in whole granules
    uint64_t peak_used_byte_size;
    uint64_t free_byte_size;
    uint64_t largest_free_byte_size;
    uint64_t allocation_count; // live blocks
    uint64_t failed_allocation_count;
};

struct pool_block {
    uint64_t address;
    uint64_t generation;
};

// Whom a block is for.
struct pool_client {
    uint32_t owner;
    bool has_waited;
    uint64_t account_key; // 0 for no account
};

// What a live block has besides its place and its size. As what is expected of a block,
// POOL_ANY_OWNER stands for every owner; as what it becomes, for the owner that it has.
struct pool_mark {
    uint32_t owner;
    uint32_t tag;
};

struct pool_owned_block {
    uint64_t address;
    uint64_t generation;
    uint64_t byte_size; // in whole granules
    uint32_t owner;
    uint32_t tag;
};

// Opens a closed pool on `byte_size` bytes from `base`, both multiples of the granule.
enum pool_status pool_open(struct pool *pool, uint64_t base, uint64_t byte_size);

// Forgets all blocks and gives the tables back. The managed range is the caller's again.
void pool_close(struct pool *pool);

// Opens a pool anew on another range, unless blocks live in it: who allocates at the same time finds the
// pool of before or the new one, and no closed one. The pool may be closed before. After any failure it
// is as it was.
enum pool_status pool_reopen(struct pool *pool, uint64_t base, uint64_t byte_size);

// As pool_close(), unless blocks live in the pool.
enum pool_status pool_close_unused(struct pool *pool);

// From now on the open pool refuses all requests with POOL_REFUSING. Whatever else can be done with
// a pool still can.
void pool_refuse(struct pool *pool);

// Allocates a block for an owner. `full` receives the statistics of the very moment in which an open
// pool that serves had no block. Where it is null the caller tries again, and the refusal is not
// counted.
enum pool_status pool_alloc(struct pool *pool, uint64_t byte_size, uint32_t owner,
                            struct pool_block *block, struct pool_stats *full);

// The same for a client with an account, or who has waited.
enum pool_status pool_alloc_for(struct pool *pool, uint64_t byte_size,
                                const struct pool_client *client, struct pool_block *block,
                                struct pool_stats *full);

// From now on, or no longer, the pool keeps what is free for those who have waited.
void pool_set_awaited(struct pool *pool, bool is_awaited);

// POOL_OK where the pool could serve the client's request if all of it were free, otherwise how it
// refuses it. Accounts are not looked at.
enum pool_status pool_check_request(struct pool *pool, uint64_t byte_size,
                                    const struct pool_client *client);

// Frees a live block of the owner whose tag is 0. With a generation other than 0, frees only if the
// pool was not reopened since.
enum pool_status pool_free(struct pool *pool, uint64_t address, uint64_t generation,
                           uint32_t owner);

// As pool_free(), for a block with the mark's tag.
enum pool_status pool_free_marked(struct pool *pool, uint64_t address, uint64_t generation,
                                  struct pool_mark mark);

// Gives a live block the mark `desired` if it has the mark `*expected`. Where only the tag is another,
// the status is POOL_TAGGED, and `expected->tag` becomes the tag that the block has. Either way
// `*block_byte_size`, unless it is null, becomes the block's size. The generation is as for
// pool_free().
enum pool_status pool_exchange_mark(struct pool *pool, uint64_t address, uint64_t generation,
                                    struct pool_mark *expected, struct pool_mark desired,
                                    uint64_t *block_byte_size);

// Hands a live block whose tag is 0 over to another owner.
enum pool_status pool_exchange_owner(struct pool *pool, uint64_t address, uint64_t generation,
                                     uint32_t expected, uint32_t desired,
                                     uint64_t *block_byte_size);

// Gives a live block with this tag to another client, whose account is charged in the place of the
// block's. The tag stays. `POOL_OVER_LIMIT` and `POOL_ACCOUNT_ENDED` change nothing.
enum pool_status pool_exchange_client(struct pool *pool, uint64_t address, uint64_t generation,
                                      uint32_t tag, const struct pool_client *client);

// The number of the account of a live block; ACCOUNT_NONE where it has none.
uint32_t pool_account(struct pool *pool, uint64_t address, uint64_t generation);

// What the key's account has in the pool, and has had.
void pool_read_account_usage(struct pool *pool, uint64_t account_key, struct account_usage *usage);

// Takes note of a request of the account that failed, or that memory of another pool served.
void pool_note_account_refusal(struct pool *pool, uint64_t account_key, bool is_fallback);

// Makes what the account has in the pool the most that it has had.
void pool_reset_account_peak(struct pool *pool, uint64_t account_key);

// Looks for live blocks of an owner, whatever their tags, in a piece of the pool, and returns how many
// of them it has written to `found`. The cursor is 0 before the first call and 0 again after the last
// piece: the caller goes on until then. Blocks that live all the time are found once each.
uint32_t pool_find_owned(struct pool *pool, uint32_t owner, uint64_t *cursor,
                         struct pool_owned_block found[], uint32_t found_count_max);

enum pool_status pool_read_stats(struct pool *pool, struct pool_stats *stats);

// The generation now open, or 0.
uint64_t pool_generation(struct pool *pool);

// Whether the address lies in the range of the open pool.
bool pool_contains(struct pool *pool, uint64_t address);

#ifndef NDEBUG
// The first invariant that does not hold, in words, or null. Walks the whole pool, and is there in
// checking builds only.
const char *pool_broken_invariant(struct pool *pool);
#endif

#endif
