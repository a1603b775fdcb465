// One pool is used by more threads than there are processors. Every thread marks the granules of
// its blocks, so that the tests find a block with two owners too, and not only a race detector.

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>

#include "check.h"
#include "pool/pool.h"
#include "threads.h"

enum {
    GRANULE_COUNT = 4096,
    BLOCKS_PER_THREAD = 48,
    STEP_COUNT = 800 * 1000, // of all threads together
};

static const uint64_t BASE = UINT64_C(0x7f0000000000);

static struct pool pool;
static int thread_count;

struct held_block {
    struct pool_block block;
    uint64_t granule_count; // 0 for none
};

static uint64_t first_granule(const struct pool_block *block)
{
    return (block->address - BASE) / POOL_GRANULE_BYTE_SIZE;
}

static void expect_inside(const struct held_block *held)
{
    uint64_t granule = first_granule(&held->block);
    CHECK(held->block.address >= BASE && held->block.address % POOL_GRANULE_BYTE_SIZE == 0 &&
              granule + held->granule_count <= GRANULE_COUNT,
          "a block of %" PRIu64 " granules at granule %" PRIu64, held->granule_count, granule);
}

static uint64_t random_granule_count(struct random *random)
{
    return random_below(random, 50) == 0 ? 1 + random_below(random, GRANULE_COUNT / 4)
                                         : 1 + random_below(random, 24);
}

static void open_pool(void)
{
    enum pool_status status =
        pool_open(&pool, BASE, (uint64_t)GRANULE_COUNT * POOL_GRANULE_BYTE_SIZE);
    CHECK(status == POOL_OK, "pool_open: status %d", (int)status);
}

static void expect_sound_stats(const struct pool_stats *stats)
{
    CHECK(stats->capacity_byte_size == (uint64_t)GRANULE_COUNT * POOL_GRANULE_BYTE_SIZE,
          "the capacity never changes");
    CHECK(stats->used_byte_size + stats->free_byte_size == stats->capacity_byte_size,
          "what is used and what is free add up");
    CHECK(stats->peak_used_byte_size >= stats->used_byte_size, "the peak is the most there was");
    CHECK(stats->largest_free_byte_size <= stats->free_byte_size, "no free block above the sum");
    CHECK((stats->largest_free_byte_size == 0) == (stats->free_byte_size == 0),
          "where something is free there is a largest free block");
    CHECK(stats->allocation_count * POOL_GRANULE_BYTE_SIZE <= stats->used_byte_size &&
              (stats->allocation_count == 0) == (stats->used_byte_size == 0),
          "every block has at least a granule");
}

static void expect_invariants(void)
{
    const char *broken = pool_broken_invariant(&pool);
    CHECK(broken == NULL, "broken invariant: %s", broken);
}

static void expect_all_free(void)
{
    struct pool_stats stats;
    CHECK(pool_read_stats(&pool, &stats) == POOL_OK, "the pool is open");
    CHECK(stats.used_byte_size == 0 && stats.allocation_count == 0 &&
              stats.largest_free_byte_size == stats.capacity_byte_size,
          "%" PRIu64 " blocks of %" PRIu64 " bytes were lost", stats.allocation_count,
          stats.used_byte_size);
    expect_invariants();
}

// Verifies the pool while other threads use it. It sleeps in between, because verifying holds the
// lock for long.
static void watch(void)
{
    struct pool_stats stats;
    if (pool_read_stats(&pool, &stats) == POOL_OK) expect_sound_stats(&stats);
    expect_invariants();
    (void)pool_generation(&pool);
    (void)pool_contains(&pool, BASE);
    sleep_microseconds(500);
}

// ---- A pool that stays open

// The marks are not atomic on purpose: a block goes from one owner to the next through the pool,
// which alone has to order the writes of both.
static uint32_t owners[GRANULE_COUNT];
static _Atomic uint64_t refusal_count;

static void alloc_and_mark(struct held_block *held, uint32_t owner, uint64_t granule_count)
{
    struct pool_stats full;
    enum pool_status status =
        pool_alloc(&pool, granule_count * POOL_GRANULE_BYTE_SIZE, 0, &held->block, &full);
    if (status == POOL_FULL) {
        refusal_count++;
        return;
    }
    CHECK(status == POOL_OK, "pool_alloc: status %d", (int)status);
    held->granule_count = granule_count;
    expect_inside(held);
    uint32_t *marks = &owners[first_granule(&held->block)];
    for (uint64_t i = 0; i < granule_count; i++) {
        CHECK(marks[i] == 0, "a granule has two owners, %" PRIu32 " and %" PRIu32, marks[i], owner);
        marks[i] = owner;
    }
}

static void expect_wrong_frees_refused(const struct held_block *held)
{
    uint64_t address = held->block.address;
    uint64_t generation = held->block.generation;
    CHECK(pool_free(&pool, address + 1, generation, 0) == POOL_NOT_ALLOCATED, "misaligned");
    CHECK(pool_free(&pool, address, generation + 1, 0) == POOL_CLOSED, "another generation");
    if (held->granule_count == 1) return;
    uint64_t last = address + (held->granule_count - 1) * POOL_GRANULE_BYTE_SIZE;
    CHECK(pool_free(&pool, last, generation, 0) == POOL_NOT_ALLOCATED, "inside a block");
}

static void unmark_and_free(struct held_block *held, uint32_t owner)
{
    uint32_t *marks = &owners[first_granule(&held->block)];
    for (uint64_t i = 0; i < held->granule_count; i++) {
        CHECK(marks[i] == owner, "a granule of %" PRIu32 " became one of %" PRIu32, owner,
              marks[i]);
        marks[i] = 0;
    }
    CHECK(pool_free(&pool, held->block.address, held->block.generation, 0) == POOL_OK,
          "a live block is freed");
    held->granule_count = 0;
}

static void alloc_and_free(int number)
{
    struct held_block held[BLOCKS_PER_THREAD] = {0};
    struct random random = random_stream((uint64_t)number);
    uint32_t owner = (uint32_t)number + 1;
    for (int step = 0; step < STEP_COUNT / thread_count; step++) {
        struct held_block *chosen = &held[random_below(&random, BLOCKS_PER_THREAD)];
        if (chosen->granule_count == 0) {
            alloc_and_mark(chosen, owner, random_granule_count(&random));
        } else {
            if (step % 16 == 0) expect_wrong_frees_refused(chosen);
            unmark_and_free(chosen, owner);
        }
    }
    for (int i = 0; i < BLOCKS_PER_THREAD; i++) {
        if (held[i].granule_count != 0) unmark_and_free(&held[i], owner);
    }
}

static void no_granule_has_two_owners(void)
{
    open_pool();
    threads_run_beside(thread_count, alloc_and_free, watch);
    expect_all_free();
    struct pool_stats stats;
    pool_read_stats(&pool, &stats);
    CHECK(stats.failed_allocation_count == refusal_count && refusal_count > 0,
          "%" PRIu64 " requests were refused, %" PRIu64 " were counted", refusal_count,
          stats.failed_allocation_count);
    pool_close(&pool);
}

// ---- A pool that is closed and opened again at any moment

// Each is generation << 8 | owner, where owner 0 is no thread. Blocks end with their generation, so
// a mark of an earlier one means nothing.
static _Atomic uint64_t marks_of_generations[GRANULE_COUNT];

// Returns false where the pool was reopened already: then the granule may belong to a later
// generation.
static bool mark(uint64_t granule, uint64_t own_mark)
{
    uint64_t found = atomic_load_explicit(&marks_of_generations[granule], memory_order_relaxed);
    do {
        CHECK(found >> 8 != own_mark >> 8 || (found & 255) == 0,
              "a granule has two owners, %" PRIu64 " and %" PRIu64, found & 255, own_mark & 255);
        if (found >> 8 > own_mark >> 8) return false;
    } while (!atomic_compare_exchange_weak_explicit(&marks_of_generations[granule], &found,
                                                    own_mark, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void unmark(uint64_t granule, uint64_t own_mark)
{
    uint64_t found = own_mark;
    uint64_t nobody = own_mark >> 8 << 8;
    bool was_own = atomic_compare_exchange_strong_explicit(
        &marks_of_generations[granule], &found, nobody, memory_order_relaxed, memory_order_relaxed);
    CHECK(was_own || found >> 8 > own_mark >> 8, "a granule of %" PRIu64 " became one of %" PRIu64,
          own_mark & 255, found & 255);
}

static void alloc_in_generation(struct held_block *held, uint64_t owner, uint64_t granule_count)
{
    enum pool_status status =
        pool_alloc(&pool, granule_count * POOL_GRANULE_BYTE_SIZE, 0, &held->block, NULL);
    if (status == POOL_FULL || status == POOL_CLOSED) return;
    CHECK(status == POOL_OK, "pool_alloc: status %d", (int)status);
    held->granule_count = granule_count;
    expect_inside(held);
    uint64_t granule = first_granule(&held->block);
    for (uint64_t i = 0; i < granule_count; i++) {
        if (mark(granule + i, held->block.generation << 8 | owner)) continue;
        // The block ended with its generation. Its marks need not be removed, because to a later
        // generation they are older ones.
        CHECK(pool_free(&pool, held->block.address, held->block.generation, 0) == POOL_CLOSED,
              "a block of an earlier generation is not freed in a later one");
        held->granule_count = 0;
        return;
    }
}

static void free_in_generation(struct held_block *held, uint64_t owner)
{
    uint64_t granule = first_granule(&held->block);
    for (uint64_t i = 0; i < held->granule_count; i++) {
        unmark(granule + i, held->block.generation << 8 | owner);
    }
    enum pool_status status = pool_free(&pool, held->block.address, held->block.generation, 0);
    CHECK(status == POOL_OK || status == POOL_CLOSED, "pool_free: status %d", (int)status);
    held->granule_count = 0;
}

// Threads go on until the pool was reopened so often, however seldom the reopening thread gets a
// processor.
enum { REOPENING_COUNT_MIN = 4 };

static atomic_int reopening_count;

static void alloc_and_free_in_generations(int number)
{
    struct held_block held[BLOCKS_PER_THREAD] = {0};
    struct random random = random_stream((uint64_t)number);
    uint64_t owner = (uint64_t)number + 1;
    for (int step = 0; step < STEP_COUNT / thread_count || reopening_count < REOPENING_COUNT_MIN;
         step++) {
        struct held_block *chosen = &held[random_below(&random, BLOCKS_PER_THREAD)];
        if (chosen->granule_count == 0) {
            alloc_in_generation(chosen, owner, random_granule_count(&random));
        } else {
            free_in_generation(chosen, owner);
        }
    }
    for (int i = 0; i < BLOCKS_PER_THREAD; i++) {
        if (held[i].granule_count != 0) free_in_generation(&held[i], owner);
    }
}

static void reopen(void)
{
    watch();
    pool_close(&pool);
    if (reopening_count++ % 2 == 0) sleep_microseconds(50);
    open_pool();
}

static void no_block_outlives_its_generation(void)
{
    open_pool();
    threads_run_beside(thread_count, alloc_and_free_in_generations, reopen);
    expect_all_free();
    pool_close(&pool);
}

int main(void)
{
    thread_count = threads_beyond_processors();
    check_case("no granule has two owners", no_granule_has_two_owners);
    check_case("no block outlives its generation", no_block_outlives_its_generation);
    return check_report();
}
