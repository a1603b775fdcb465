// A block that is freed on several streams at once. It has an entry for each, in that stream's list, and
// goes with the last of them: no stream is made to wait for another. No request may have it before.
//
// The entries of a block are linked in a ring by `next_use`, and any one of them may have its tag. Whoever
// calls sees to it that one thread at a time is here, but for making and giving up what is in no list.
#ifndef FREED_USES_H
#define FREED_USES_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "memory/freed_blocks.h"

// Entries that are not in their lists yet, each of which is for the stream of the same index.
struct freed_uses {
    uint32_t count;
    struct freed_block **blocks;
    struct cuda_stream *streams;
    bool is_appended;
};

// Makes an entry for each stream, and one for those that are the same. False where the system refuses
// memory. freed_uses_give_up() follows in any case.
bool freed_uses_make(struct freed_uses *uses, uint64_t address, uint64_t generation,
                     const struct cuda_stream *streams, uint32_t stream_count);

// Finds the lists, which may be empty afterwards. False where the system refuses memory.
bool freed_uses_find_lists(struct freed_uses *uses, struct pool *pool);

// Marks the point of each stream.
enum memory_status freed_uses_record(struct freed_uses *uses);

// Puts the entries into their lists. The block has the tag and the size of the first. The other block is the
// same one, which was reused and whose earlier use may not be over; or null.
void freed_uses_append(struct freed_uses *uses, struct freed_block *reused);

void freed_uses_give_up(struct freed_uses *uses);

// Whether other streams have yet to do with the block.
bool freed_use_has_others(const struct freed_block *block);

// Leaves the block to them. The entry is its own afterwards, and has no tag.
void freed_use_leave(struct freed_block *block);

#endif
