#include "pool/lock.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>

enum {
    FIRST_PAUSE_COUNT = 4,
    PAUSE_COUNT_MAX = 4096, // 50 to 200 microseconds
    LONG_PAUSES_MAX = 4,
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

static void pause_times(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) pause_processor();
}

// Returns when the lock was seen free. The caller still has to win it.
//
// Each look at the lock takes its cache line from the thread that holds it, so a waiter looks ever
// more rarely: then the holder can take the lock many times in a row at full speed, and all threads
// together get more done. Giving the processor away comes soon, because with more threads than
// processors the holder may be the one that is not running.
void lock_wait(struct lock *lock)
{
    uint32_t pause_count = FIRST_PAUSE_COUNT;
    for (uint32_t long_pauses = 0; long_pauses < LONG_PAUSES_MAX;) {
        pause_times(pause_count);
        if (!is_held(lock)) return;
        if (pause_count < PAUSE_COUNT_MAX) {
            pause_count *= 2;
        } else {
            long_pauses++;
            sched_yield();
        }
    }
    // Yielding does not let a thread of lower priority run; sleeping does.
    while (is_held(lock)) {
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    }
}
