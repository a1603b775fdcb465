// What the other files of this folder need of the pinned memory manager.
#ifndef PINNED_MEMORY_H
#define PINNED_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "memory/refusal.h"

bool pinned_memory_is_created(void);

// Allocates pinned memory; before the manager is created there is none. Otherwise `refusal` says why.
//
// Nobody gets pinned memory before its last use is over, not even for the same stream: the host
// writes to it and reads it in no stream's order.
bool pinned_memory_alloc_for(struct memory_allocation *allocation, double byte_size,
                             const struct pool_client *client, struct refusal *refusal);

// Allocates memory of the system heap.
enum pool_status nonpinned_memory_alloc_for(struct memory_allocation *allocation, double byte_size,
                                            const struct pool_client *client);

// Frees memory of either kind. Memory of an earlier life of the manager is gone already: that is a
// success. With generation 0, frees whatever lives at the address now.
enum memory_status system_memory_free(double address, int32_t memory_type, uint64_t generation,
                                      uint32_t owner);

// Frees memory of either kind after what the streams have been given so far.
enum memory_status system_memory_free_on_streams(const struct memory_allocation *allocation,
                                                 const struct cuda_stream *streams,
                                                 uint32_t stream_count);

#endif
