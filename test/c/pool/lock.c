// The lock of a pool, contended by more threads than there are processors.

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

#include "check.h"
#include "pool/lock.h"
#include "threads.h"

enum { ROUND_COUNT = 200 * 1000 }; // of all threads together

static struct lock lock;
static int thread_count;

// Both are not atomic on purpose: only the lock keeps them right.
static uint64_t count;
static bool is_inside;

static void count_up(int number)
{
    (void)number;
    for (int round = 0; round < ROUND_COUNT / thread_count; round++) {
        lock_acquire(&lock);
        count++;
        lock_release(&lock);
    }
}

static void no_increment_is_lost(void)
{
    count = 0;
    threads_run(thread_count, count_up);
    uint64_t expected = (uint64_t)(ROUND_COUNT / thread_count) * (uint64_t)thread_count;
    CHECK(count == expected, "%" PRIu64 " increments became %" PRIu64, expected, count);
}

// Yields the processor while it holds the lock, as a thread does whose time slice ends there.
static void stay_inside(int number)
{
    (void)number;
    for (int round = 0; round < 200; round++) {
        lock_acquire(&lock);
        CHECK(!is_inside, "two threads hold the lock");
        is_inside = true;
        sched_yield();
        if (round % 50 == 0) sleep_microseconds(200);
        is_inside = false;
        count++;
        lock_release(&lock);
    }
}

static void a_holder_that_is_preempted_is_waited_for(void)
{
    count = 0;
    threads_run(thread_count, stay_inside);
    CHECK(count == 200 * (uint64_t)thread_count, "%" PRIu64 " rounds", count);
}

static atomic_bool is_held;

// Holds the lock for so long that every waiter stops spinning and sleeps.
static void hold_for_long(void)
{
    lock_acquire(&lock);
    is_held = true;
    for (int i = 0; i < 30; i++) {
        sleep_microseconds(1000);
        CHECK(count == 0, "a waiter got past the holder");
    }
    lock_release(&lock);
}

static void hold_or_wait(int number)
{
    if (number == 0) {
        hold_for_long();
        return;
    }
    while (!is_held) sched_yield();
    lock_acquire(&lock);
    count++;
    lock_release(&lock);
}

static void waiters_that_sleep_wake_up(void)
{
    count = 0;
    is_held = false;
    threads_run(thread_count, hold_or_wait);
    CHECK(count == (uint64_t)thread_count - 1, "%" PRIu64 " waiters got the lock", count);
}

int main(void)
{
    thread_count = threads_beyond_processors();
    check_case("no increment is lost", no_increment_is_lost);
    check_case("a holder that is preempted is waited for",
               a_holder_that_is_preempted_is_waited_for);
    check_case("waiters that sleep wake up", waiters_that_sleep_wake_up);
    return check_report();
}
