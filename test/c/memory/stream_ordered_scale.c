// What calls cost beside blocks that a busy stream still uses: about the same beside 64,000 of them as
// beside 2,000. All that was linear would take 32 times as long.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "simulated_cuda.h"

enum {
    FEW_COUNT = 2000,
    MANY_COUNT = 64000,
    STREAM_COUNT = 2,
    BLOCK_BYTE_SIZE = 1024,
    FREE_BYTE_SIZE = 64 * 1024, // what the pool has besides
    REPETITION_COUNT = 200,
    RATIO_MAX = 8,
    NOISE_NS = 3000,
};

static struct cuda_stream streams[STREAM_COUNT];
static struct memory_allocation blocks[MANY_COUNT];

static double pool_byte_size(int count)
{
    return (double)count * (BLOCK_BYTE_SIZE + BLOCK_BYTE_SIZE / 2) / 2 + FREE_BYTE_SIZE;
}

// ---- Many blocks of which one stream is not known to have done with any

// The blocks are of a few sizes, and every fourth is reused by the stream.
static void set_up(int count, struct hold *hold)
{
    double device_id = 0, byte_size = pool_byte_size(count);
    CHECK(cuda_memory_create(&device_id, &byte_size, 1, 0) == MEMORY_OK, "%s", memory_message());
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_create(&streams[i], 0) == MEMORY_OK, "%s", memory_message());
    }
    hold_stream(&streams[0], hold);
    for (int i = 0; i < count; i++) {
        double size = i % 2 == 0 ? BLOCK_BYTE_SIZE : BLOCK_BYTE_SIZE / 2;
        CHECK(owned_memory_alloc(&blocks[i], size, MEMORY_GPU, 0, memory_owner()) == MEMORY_OK,
              "%s", memory_message());
    }
    for (int i = 0; i < count; i++) {
        CHECK(owned_memory_free_on_stream(&blocks[i], &streams[0], memory_owner()) == MEMORY_OK,
              "%s", memory_message());
    }
    for (int i = 0; i < count / 4; i++) {
        enum memory_status status = owned_memory_alloc_on_stream(
            &blocks[i], BLOCK_BYTE_SIZE, MEMORY_GPU, 0, &streams[0], memory_owner());
        CHECK(status == MEMORY_OK, "%s", memory_message());
    }
}

static void tear_down(int count, struct hold *hold)
{
    release_stream(hold);
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_synchronize(&streams[i]) == MEMORY_OK, "%s", memory_message());
        CHECK(cuda_stream_destroy(&streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "%s", memory_message());
    CHECK(stats.allocation_count == count / 4, "%.0f blocks live", stats.allocation_count);
    CHECK(cuda_memory_reset() == MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
    simulated_cuda_expect_nothing_live(1);
}

// ---- What is measured

static void alloc_on(int stream, struct memory_allocation *memory, double byte_size, bool is_served)
{
    enum memory_status status = owned_memory_alloc_on_stream(
        memory, byte_size, MEMORY_GPU, 0, stream < 0 ? NULL : &streams[stream], memory_owner());
    CHECK(status >= MEMORY_OK, "%s", memory_message());
    CHECK((memory_type_of(memory) == MEMORY_GPU) == is_served, "%.0f bytes for stream %d",
          byte_size, stream);
}

static void free_now(const struct memory_allocation *memory)
{
    CHECK(owned_memory_free(memory, memory_owner()) == MEMORY_OK, "%s", memory_message());
}

static void refuse_with_stream(void)
{
    struct memory_allocation memory;
    alloc_on(1, &memory, 2 * FREE_BYTE_SIZE, false);
    free_now(&memory);
}

static void refuse_without_stream(void)
{
    struct memory_allocation memory;
    alloc_on(-1, &memory, 2 * FREE_BYTE_SIZE, false);
    free_now(&memory);
}

static void alloc_and_free(void)
{
    struct memory_allocation memory;
    alloc_on(-1, &memory, BLOCK_BYTE_SIZE, true);
    free_now(&memory);
}

static void free_and_reuse(void)
{
    struct memory_allocation memory;
    alloc_on(0, &memory, BLOCK_BYTE_SIZE, true); // one that is pending
    CHECK(owned_memory_free_on_stream(&memory, &streams[0], memory_owner()) == MEMORY_OK, "%s",
          memory_message());
}

static void reuse_and_free_again(void)
{
    struct memory_allocation memory;
    alloc_on(0, &memory, BLOCK_BYTE_SIZE, true);
    free_now(&memory); // pending again
}

static void read_stats(void)
{
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "%s", memory_message());
}

static const struct action {
    const char *name;
    void (*run)(void);
} actions[] = {
    {"a request with a stream is refused", refuse_with_stream},
    {"a request is refused", refuse_without_stream},
    {"an allocation and its free", alloc_and_free},
    {"a free on the stream, and a reuse", free_and_reuse},
    {"a reuse that is freed at once", reuse_and_free_again},
    {"statistics", read_stats},
};

enum { ACTION_COUNT = sizeof actions / sizeof actions[0] };

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// The shortest of many, which is the one that nothing else has disturbed.
static double time_of(const struct action *action)
{
    double shortest = 1e18;
    for (int i = 0; i < REPETITION_COUNT; i++) {
        double start = now_ns();
        action->run();
        double elapsed = now_ns() - start;
        if (elapsed < shortest) shortest = elapsed;
    }
    return shortest;
}

static void measure(int count, double times[ACTION_COUNT])
{
    struct hold hold;
    set_up(count, &hold);
    for (size_t i = 0; i < ACTION_COUNT; i++) times[i] = time_of(&actions[i]);
    tear_down(count, &hold);
}

static void calls_cost_the_same_beside_many_blocks(void)
{
    double few[ACTION_COUNT], many[ACTION_COUNT];
    measure(FEW_COUNT, few);
    measure(MANY_COUNT, many);
    for (size_t i = 0; i < ACTION_COUNT; i++) {
        printf("%-36s %7.0f ns beside %d, %7.0f ns beside %d\n", actions[i].name, few[i], FEW_COUNT,
               many[i], MANY_COUNT);
        CHECK(many[i] <= RATIO_MAX * few[i] + NOISE_NS, "%s: %.0f ns instead of %.0f",
              actions[i].name, many[i], few[i]);
    }
}

int main(void)
{
    simulated_cuda_bind("9.0:134217728");
    check_case("calls cost the same beside many blocks", calls_cost_the_same_beside_many_blocks);
    return check_report();
}
