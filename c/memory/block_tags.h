// Tags, each of which leads from a block in its pool to what is known here of the block. The callers
// see to it that one thread at a time is here.
#ifndef BLOCK_TAGS_H
#define BLOCK_TAGS_H

#include <stdint.h>

struct freed_block;

// A tag that no other block has, or 0 where the system refuses memory.
uint32_t block_tag_acquire(struct freed_block *block);

// Tag 0 is none.
void block_tag_release(uint32_t tag);

// Gives a tag to another block. Tag 0 is none.
void block_tag_assign(uint32_t tag, struct freed_block *block);

struct freed_block *block_of_tag(uint32_t tag);

// Gives the table back, while no block has a tag: a peak of pending blocks need not cost memory for
// ever.
void block_tags_drop(void);

#endif
