// Memory of the system heap. Every block is tracked, so that its address can be told from any other,
// and a reset finds all of it. All functions are thread-safe.
#ifndef NONPINNED_MEMORY_H
#define NONPINNED_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/pool.h"

// Allocates a block for a client that is aligned as a pool's are. POOL_FULL is a system that refuses, or
// more than nonpinned_limit.h allows; POOL_OVER_LIMIT and POOL_ACCOUNT_ENDED as of pool_alloc_for().
enum pool_status nonpinned_memory_alloc(uint64_t byte_size, const struct pool_client *client,
                                        struct pool_block *allocated);

// As pool_free(). Memory that somebody holds goes when nobody does.
enum pool_status nonpinned_memory_free(void *pointer, uint64_t generation, uint32_t owner);

// Memory that is allocated and belongs to nobody any more. Its account is charged for it still.
struct forgotten_memory {
    uint64_t byte_size; // as it was asked for
    uint32_t account;
};

// As nonpinned_memory_free(), but the memory stays allocated: nonpinned_memory_release() follows.
enum pool_status nonpinned_memory_forget(void *pointer, uint64_t generation, uint32_t owner,
                                         struct forgotten_memory *forgotten);

// Gives memory that is forgotten back to the system, or leaves it to those who hold it.
void nonpinned_memory_release(void *pointer, uint64_t generation,
                              struct forgotten_memory forgotten);

// Whether the owner's block starts at the address, as a status.
enum pool_status nonpinned_memory_check(void *pointer, uint64_t generation, uint32_t owner);

// As pool_exchange_owner(). Memory that somebody holds is POOL_TAGGED.
enum pool_status nonpinned_memory_exchange_owner(void *pointer, uint64_t generation,
                                                 uint32_t expected, uint32_t desired,
                                                 uint64_t *block_byte_size);

// As pool_find_owned(), but a block may be found twice, and none has a tag.
uint32_t nonpinned_memory_find_owned(uint32_t owner, uint64_t *cursor,
                                     struct pool_owned_block found[], uint32_t found_count_max);

// As the functions of pools, for what accounts have of the system heap.
uint32_t nonpinned_memory_account(void *pointer, uint64_t generation);
void nonpinned_memory_read_account_usage(uint64_t account_key, struct account_usage *usage);
void nonpinned_memory_note_account_refusal(uint64_t account_key, bool is_fallback);
void nonpinned_memory_reset_account_peak(uint64_t account_key);

// Frees everything that lives, but what somebody holds.
void nonpinned_memory_reset(void);

uint64_t nonpinned_memory_count(void);
uint64_t nonpinned_memory_byte_size(void);
uint64_t nonpinned_memory_generation(void);

#endif
