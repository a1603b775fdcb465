// Who looks at memory: the views of it that JavaScript has, in whatever thread, and promises that
// memory is to outlive.
//
// As long as somebody holds memory it is neither handed on nor given back to the system. Memory that
// is freed meanwhile goes when the last hold ends; a region that is closed meanwhile is set aside. A
// block of a pool that is held has a tag of its own, so that a pool refuses to free it, and memory that
// nobody holds costs nothing.
#ifndef HOLD_H
#define HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/region.h"
#include "pool/pool.h"

// The tag of a block that is held, which no other tag equals.
#define HOLD_TAG UINT32_MAX

// What to do with memory that is freed.
enum hold_status {
    HOLD_NONE,          // nobody holds it: free it
    HOLD_TAKEN_OVER,    // it goes when the last hold ends
    HOLD_FREED_ALREADY, // it was freed while it was held before
};

// Holds memory that is there: a block of a pool and its region, or non-pinned memory where both are
// null. The caller keeps it from going meanwhile. Returns the hold's number, which no other hold gets
// soon; 0 where the system refuses memory.
uint64_t hold_begin(struct pool *pool, struct region *region, uint64_t address, uint64_t generation,
                    uint32_t owner);
// Has a hold outlive the thread that began it. Does nothing where it has ended.
void hold_give_to_process(uint64_t number);
// Does nothing where the hold has ended.
void hold_end(uint64_t number);

// Whether anything is held. It costs a load.
bool hold_any(void);

// Says that the memory at the address is freed: a block of the pool, which has HOLD_TAG if it is held
// and this returns HOLD_TAKEN_OVER; or non-pinned memory where the pool is null, of so many bytes.
enum hold_status hold_take_over(struct pool *pool, uint64_t address, uint64_t generation,
                                uint64_t nonpinned_byte_size);

// Whether memory is held that was not freed yet.
bool hold_is_held(struct pool *pool, uint64_t address, uint64_t generation);

// Ends what is still a thread's.
void hold_end_owner(uint32_t owner);

// Bytes of non-pinned memory that were freed and are still held.
uint64_t hold_nonpinned_byte_size(void);

#endif
