#include "memory/nonpinned_limit.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>

#include "whole_number.h"

static _Atomic uint64_t limit_byte_size = UINT64_MAX;
static _Atomic uint64_t taken_byte_size;

// Of this thread's last request.
static _Thread_local bool is_refused;
static _Thread_local struct nonpinned_refusal last_refusal;

void nonpinned_limit_set(double byte_size)
{
    limit_byte_size = isinf(byte_size) ? UINT64_MAX : whole_number(byte_size);
}

bool nonpinned_limit_take(uint64_t byte_size)
{
    uint64_t taken = taken_byte_size;
    do {
        uint64_t limit = limit_byte_size;
        is_refused = byte_size > limit || taken > limit - byte_size;
        if (is_refused) {
            last_refusal =
                (struct nonpinned_refusal){.limit_byte_size = limit, .taken_byte_size = taken};
            return false;
        }
    } while (!atomic_compare_exchange_weak(&taken_byte_size, &taken, taken + byte_size));
    return true;
}

void nonpinned_limit_give_back(uint64_t byte_size)
{
    uint64_t taken = atomic_fetch_sub(&taken_byte_size, byte_size);
    assert(taken >= byte_size);
    (void)taken;
}

bool nonpinned_limit_has_refused(struct nonpinned_refusal *refusal)
{
    if (is_refused) *refusal = last_refusal;
    return is_refused;
}
