// The ranges of memory that CUDA has given to the pools.
//
// A region belongs to a pool until the pool is closed. Then it is given back to CUDA, unless somebody
// still looks at its memory: such a region is set aside, whole, until nobody does. Nothing watches for
// that moment: closed regions are given back when a manager is made or reset and when statistics are
// read. One that CUDA refuses to take back is tried again each time.
#ifndef REGION_H
#define REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

struct region;

// Reserves memory: of a GPU, aligned as a pool needs it, or pinned memory, with the context of the GPU.
// `*address` is where the pool may begin. MEMORY_INTERNAL with a message where CUDA or the system
// refuses.
enum memory_status region_reserve(enum memory_type memory_type, int device, uint64_t byte_size,
                                  struct region **region, uint64_t *address);

// Where a pool may begin in it, and its bytes from there on.
uint64_t region_address(const struct region *region);
uint64_t region_byte_size(const struct region *region);

// The region's pool is closed, or could not be opened.
void region_close(struct region *region);

// Gives back a region at once that no pool has, and that is not closed. Returns false where it is still
// the caller's: somebody looks at it (then `*status` is MEMORY_OK), or CUDA refuses to take it back.
bool region_give_back(struct region *region, enum memory_status *status);

// Gives back all closed regions of a kind that nobody looks at. Goes on after a failure.
enum memory_status region_give_back_closed(enum memory_type memory_type);

// Somebody begins to look at the region's memory, and ends.
void region_acquire(struct region *region);
void region_release(struct region *region);

// How many regions are closed and not given back. It costs a load.
uint64_t region_closed_count(void);

// The bytes of closed regions that somebody looks at: of a GPU, or of pinned memory.
uint64_t region_set_aside_byte_size(enum memory_type memory_type, int device);

#endif
