// A mutual-exclusion lock for critical sections of some tens of nanoseconds.
//
// An uncontended acquire and release are one atomic exchange and one plain store, a third of what
// a pthread mutex costs. A waiter pauses for longer and longer and then gives its processor away.
#ifndef LOCK_H
#define LOCK_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

struct lock {
    _Atomic uint32_t held;
};

void lock_wait(struct lock *lock);

static inline void lock_acquire(struct lock *lock)
{
    while (
        __builtin_expect(atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) != 0, 0)) {
        lock_wait(lock);
    }
}

static inline void lock_release(struct lock *lock)
{
    assert(atomic_load_explicit(&lock->held, memory_order_relaxed) != 0);
    atomic_store_explicit(&lock->held, 0, memory_order_release);
}

#endif
