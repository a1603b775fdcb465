// What the pinned memory manager offers its neighbours in this library.
#ifndef PINNED_MEMORY_H
#define PINNED_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "memory/refusal.h"

// Pinned memory, else non-pinned memory where that is allowed; with or without a pool, and before
// the manager is created too. False where neither can be had. Where it is not pinned memory,
// `pinned` says why; otherwise its status is POOL_OK. Where only blocks are in the way that streams
// still use, it waits for them if it may.
//
// Nobody gets pinned memory before its last use is over, not even for a stream: the host writes to
// it and reads it in no stream's order.
bool pinned_memory_take(struct memory_location *location, double byte_size,
                        bool allow_nonpinned_fallback, bool may_wait, struct refusal *pinned);

// Frees either kind. Memory of an earlier life of the manager is gone already: that succeeds. With
// generation 0, whatever is live at the address now.
int32_t pinned_memory_give(double address, int32_t memory_type, double generation);

// Frees memory of either kind after what the stream has been given so far.
int32_t pinned_memory_give_after(const struct memory_location *location,
                                 const struct memory_stream *stream);

// Whether memory of this kind and generation is still there.
bool pinned_memory_is_current(int32_t memory_type, double generation);

#endif
