// latency POOL-LIBRARY CUDART LIVE-BLOCKS ROUNDS STEPS
//
// Times single calls at so many live blocks, one drawn at random replaced by another at each step.
// Each step also times a free lock and nothing at all, so that all four meet the same machine.
// Says each round in a message (see harness/child/messages.ts), and at last what was asked of the
// system heap.
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../native/heap_calls.h"
#include "../native/pool_library.h"
#include "../native/random.h"

// ---- The clock, which is the processor's own where a program can read it

#if defined(__x86_64__)
#define CLOCK_NAME "rdtsc between two lfence"
static inline uint64_t read_clock(void)
{
    __builtin_ia32_lfence();
    uint64_t ticks = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return ticks;
}
#elif defined(__aarch64__)
#define CLOCK_NAME "cntvct_el0 after isb"
static inline uint64_t read_clock(void)
{
    uint64_t ticks;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
}
#else
#define CLOCK_NAME "clock_gettime"
static inline uint64_t read_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}
#endif

static double monotonic_nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double measure_nanoseconds_per_tick(void)
{
    double start = monotonic_nanoseconds();
    uint64_t start_ticks = read_clock();
    while (monotonic_nanoseconds() < start + 100e6) {}
    double end = monotonic_nanoseconds();
    return (end - start) / (double)(read_clock() - start_ticks);
}

// ---- Steps

enum { TIMER, LOCK, FREE, ALLOC, TIMED_COUNT };

static const char *const names[TIMED_COUNT] = {"timer", "lock", "free", "alloc"};

struct bench {
    struct pool_library library;
    uint32_t live_block_count;
    double *addresses;
    uint64_t random_state;
    double nanoseconds_per_tick;
    uint32_t step_count;
    uint64_t *ticks[TIMED_COUNT]; // of each step
};

static void fill(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->live_block_count; i++) {
        bench->addresses[i] =
            pool_library_alloc(&bench->library, random_byte_size(&bench->random_state));
    }
}

static void lock_and_unlock(void)
{
    static atomic_uint lock;
    while (atomic_exchange_explicit(&lock, 1, memory_order_acquire) != 0) {}
    atomic_store_explicit(&lock, 0, memory_order_release);
}

static void replace_and_time(struct bench *bench, uint32_t step)
{
    double *address =
        &bench->addresses[random_below(&bench->random_state, bench->live_block_count)];
    double byte_size = random_byte_size(&bench->random_state);
    double freed = *address;

    uint64_t start = read_clock();
    bench->ticks[TIMER][step] = read_clock() - start;

    start = read_clock();
    lock_and_unlock();
    bench->ticks[LOCK][step] = read_clock() - start;

    start = read_clock();
    pool_library_free(&bench->library, freed);
    bench->ticks[FREE][step] = read_clock() - start;

    start = read_clock();
    *address = pool_library_alloc(&bench->library, byte_size);
    bench->ticks[ALLOC][step] = read_clock() - start;
}

// Returns the number of requests to the heap meanwhile.
static uint64_t run_round(struct bench *bench)
{
    uint64_t heap_calls_before = heap_call_count();
    for (uint32_t step = 0; step < bench->step_count; step++) replace_and_time(bench, step);
    return heap_call_count() - heap_calls_before;
}

// ---- Percentiles

static int compare_ticks(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void print_percentiles(const struct bench *bench, int timed)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 1};
    enum { SHARE_COUNT = sizeof shares / sizeof shares[0] };
    uint64_t *ticks = bench->ticks[timed];
    qsort(ticks, bench->step_count, sizeof *ticks, compare_ticks);
    printf("%s\"%s\":[", timed == 0 ? "" : ",", names[timed]);
    for (int i = 0; i < SHARE_COUNT; i++) {
        uint32_t index = (uint32_t)(shares[i] * (bench->step_count - 1));
        printf("%s%.1f", i == 0 ? "" : ",", (double)ticks[index] * bench->nanoseconds_per_tick);
    }
    printf("]");
}

static void print_round(const struct bench *bench)
{
    printf("{\"kind\":\"round\",\"round\":{");
    for (int timed = 0; timed < TIMED_COUNT; timed++) print_percentiles(bench, timed);
    printf("}}\n");
    fflush(stdout);
}

static uint32_t number_of(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 6) fail("usage: latency POOL-LIBRARY CUDART LIVE-BLOCKS ROUNDS STEPS");
    struct bench bench = {
        .library = pool_library_open(arguments[1], arguments[2]),
        .live_block_count = number_of(arguments[3]),
        .random_state = 1,
        .nanoseconds_per_tick = measure_nanoseconds_per_tick(),
        .step_count = number_of(arguments[5]),
    };
    bench.addresses = allocate_or_fail(bench.live_block_count, sizeof *bench.addresses);
    for (int timed = 0; timed < TIMED_COUNT; timed++) {
        bench.ticks[timed] = allocate_or_fail(bench.step_count, sizeof *bench.ticks[timed]);
    }
    pool_library_create(&bench.library, 1.5 * RANDOM_BYTE_SIZE_MEAN * bench.live_block_count);

    uint64_t heap_calls_before = heap_call_count();
    fill(&bench);
    uint64_t fill_heap_calls = heap_call_count() - heap_calls_before;
    // Then the pool has as many free blocks, and as much metadata, as it ever will have.
    uint32_t warm_up_step_count = 40 * bench.live_block_count;
    for (uint32_t done = 0; done < warm_up_step_count; done += bench.step_count) run_round(&bench);

    uint64_t steady_heap_calls = 0;
    uint32_t round_count = number_of(arguments[4]);
    for (uint32_t round = 0; round < round_count; round++) {
        steady_heap_calls += run_round(&bench);
        print_round(&bench);
    }
    printf("{\"kind\":\"end\",\"clock\":\"%s\",\"heapCalls\":{\"filling\":%llu,\"steady\":%llu}}\n",
           CLOCK_NAME, (unsigned long long)fill_heap_calls, (unsigned long long)steady_heap_calls);
    return 0;
}
