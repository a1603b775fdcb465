#include "memory/block_tags.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_COUNT_AT_FIRST = 16 };

union tag_entry {
    struct freed_block *block;
    uint32_t next_spare; // while no block has the tag
};

static union tag_entry *entries; // that of tag 0 is not used
static uint32_t tag_count;
static uint32_t spare_tag; // 0 for none

static bool add_tags(void)
{
    if (tag_count > UINT32_MAX / 2) return false;
    uint32_t grown_count = tag_count == 0 ? TAG_COUNT_AT_FIRST : 2 * tag_count;
    union tag_entry *grown = malloc(grown_count * sizeof *grown);
    if (grown == NULL) return false;
    if (tag_count > 0) memcpy(grown, entries, tag_count * sizeof *grown);
    free(entries);
    entries = grown;
    for (uint32_t tag = grown_count - 1; tag >= tag_count && tag > 0; tag--) {
        entries[tag].next_spare = spare_tag;
        spare_tag = tag;
    }
    tag_count = grown_count;
    return true;
}

uint32_t block_tag_acquire(struct freed_block *block)
{
    if (spare_tag == 0 && !add_tags()) return 0;
    uint32_t tag = spare_tag;
    spare_tag = entries[tag].next_spare;
    entries[tag].block = block;
    return tag;
}

void block_tag_assign(uint32_t tag, struct freed_block *block)
{
    if (tag != 0) entries[tag].block = block;
}

void block_tag_release(uint32_t tag)
{
    if (tag == 0) return;
    entries[tag].next_spare = spare_tag;
    spare_tag = tag;
}

struct freed_block *block_of_tag(uint32_t tag)
{
    return entries[tag].block;
}

void block_tags_drop(void)
{
    free(entries);
    entries = NULL;
    tag_count = 0;
    spare_tag = 0;
}
