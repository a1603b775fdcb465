// Which fallbacks this process has warned of, whatever thread made the request.
#ifndef FALLBACK_WARNINGS_H
#define FALLBACK_WARNINGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"

enum fallback_kind { FALLBACK_FROM_CUDA, FALLBACK_FROM_PINNED, FALLBACK_KIND_COUNT };

enum {
    // Stands for the GPU of a request that is for host memory, and for all ids that no GPU can have.
    FALLBACK_NO_GPU = DEVICE_COUNT_MAX,
    // The largest number of an account. A request that is on nobody's account has 0.
    FALLBACK_ACCOUNT_MAX = 65535,
};

// A bit for each cause. The pages of accounts that never fall back are never touched, so that the 17 MB
// of addresses cost no memory.
extern _Atomic uint8_t fallback_warned[FALLBACK_ACCOUNT_MAX + 1][FALLBACK_NO_GPU + 1]
                                      [FALLBACK_KIND_COUNT];

_Static_assert(MEMORY_CAUSE_OVER_LIMIT < 8, "a byte has a bit for each cause");

// True once for each kind, GPU, cause and account. It is inline because a fallback is to cost no more
// for being looked up than one that nobody looks up.
static inline bool fallback_warn_once(enum fallback_kind kind, double device_id,
                                      enum memory_cause cause, uint32_t account)
{
    uint64_t id = (uint64_t)(int64_t)device_id;
    _Atomic uint8_t *causes =
        &fallback_warned[account][id < FALLBACK_NO_GPU ? id : FALLBACK_NO_GPU][kind];
    uint8_t bit = (uint8_t)(1u << cause);
    // Most find the bit set, and leave the cache line to all threads.
    if (__builtin_expect((atomic_load_explicit(causes, memory_order_relaxed) & bit) != 0, 1)) {
        return false;
    }
    return (atomic_fetch_or_explicit(causes, bit, memory_order_relaxed) & bit) == 0;
}

// Forgets what was warned of for an account, whose number is another's from now on.
void fallback_forget_account(uint32_t account);

#endif
