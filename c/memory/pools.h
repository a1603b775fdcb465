// The pools of the process, open or closed: one for each GPU, and one of pinned memory.
#ifndef POOLS_H
#define POOLS_H

#include "bun_cuda_memory.h"
#include "memory/region.h"
#include "pool/pool.h"

// A pool, and the memory that CUDA has given for it.
struct reserved_pool {
    struct pool pool;
    struct region *region; // of the open pool, else null; guarded by the lifecycle lock
};

// An id that no GPU can have gets a pool that never opens.
struct reserved_pool *gpu_pool(double device_id);
struct reserved_pool *pinned_pool(void);

// The same of a GPU that memory was had of, whose id is certain.
struct reserved_pool *gpu_pool_of_memory(int32_t device);

// The pool that memory of this type is from; null for non-pinned memory.
struct reserved_pool *reserved_pool_of(double place);

// The lowest GPU that has a pool, or -1. The caller holds the lifecycle lock.
int lowest_gpu_with_pool(void);

// Reserves memory for a closed pool, rounded up to whole granules, and opens it: memory of the GPU, or
// pinned memory with the GPU's context. The caller holds the lifecycle lock exclusively.
enum memory_status reserved_pool_open(struct reserved_pool *reserved_pool,
                                      enum memory_type memory_type, int device, double byte_size);

// Makes the pool of a GPU, which may be closed, one of another size, or closes it where the size is 0.
// MEMORY_UNAVAILABLE, and nothing has changed, where memory of the pool lives. Where there is room for
// both, the new memory is reserved before that of the pool is given back, and no request finds the pool
// closed; else after it. After a failure the pool is as it was, or the message says that it is not.
// MEMORY_OK_WITH_WARNINGS where CUDA has not taken the old memory back yet. The caller holds the
// lifecycle lock exclusively.
enum memory_status reserved_pool_resize(struct reserved_pool *reserved_pool, int device,
                                        double byte_size);

// Closes a pool, which may be closed. Its memory goes back by region_give_back_closed(). The caller
// holds the lifecycle lock exclusively.
void reserved_pool_close(struct reserved_pool *reserved_pool);

#endif
