#include "lock.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>

enum {
    SPIN_COUNT_MAX = 64,
    YIELD_COUNT_MAX = 64,
    SLEEP_NS = 50 * 1000,
};

static void pause_processor(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool is_held(struct lock *lock)
{
    return atomic_load_explicit(&lock->held, memory_order_relaxed) != 0;
}

// Returns when the lock was seen free; the caller still has to win it.
void lock_wait(struct lock *lock)
{
    for (int spin = 0; spin < SPIN_COUNT_MAX; spin++) {
        if (!is_held(lock)) return;
        pause_processor();
    }
    for (int yield = 0; yield < YIELD_COUNT_MAX; yield++) {
        if (!is_held(lock)) return;
        sched_yield();
    }
    // Yielding does not let a thread of lower priority run; sleeping does.
    while (is_held(lock)) {
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    }
}
