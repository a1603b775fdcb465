#include "memory/fallback_warnings.h"

#include <stdatomic.h>

#include "cuda/cudart.h"

enum { DEVICE_SLOT_COUNT = DEVICE_COUNT_MAX + 1 };

// A bit for each cause. The pages of accounts that never fall back are never touched, so that the 17 MB
// of addresses cost no memory.
static _Atomic uint8_t warned[FALLBACK_ACCOUNT_MAX + 1][DEVICE_SLOT_COUNT][FALLBACK_KIND_COUNT];

_Static_assert(MEMORY_CAUSE_NO_TABLES < 8, "a byte has a bit for each cause");

static int slot_of(double device_id)
{
    return device_id >= 0 && device_id < DEVICE_COUNT_MAX ? (int)device_id : DEVICE_COUNT_MAX;
}

bool fallback_warn_once(enum fallback_kind kind, double device_id, enum memory_cause cause,
                        uint32_t account)
{
    _Atomic uint8_t *causes = &warned[account][slot_of(device_id)][kind];
    uint8_t bit = (uint8_t)(1u << cause);
    // Most requests find the bit set, and leave the cache line to all threads.
    if ((atomic_load_explicit(causes, memory_order_relaxed) & bit) != 0) return false;
    return (atomic_fetch_or_explicit(causes, bit, memory_order_relaxed) & bit) == 0;
}
