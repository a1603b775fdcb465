// Holds on host memory: what ends with the thread that began it, what outlives it, and what becomes of
// one for which the system refuses memory.

#include <stddef.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "failing_calls.h"
#include "owned_memory.h"
#include "stream_fixture.h"
#include "threads.h"

enum { HEAP_BYTE_SIZE = 2 * POOL_BYTE_SIZE }; // for which there is no pinned memory

static struct memory_allocation alloc_host(double byte_size)
{
    struct memory_allocation memory;
    enum memory_status status =
        owned_memory_alloc(&memory, byte_size, MEMORY_CPU_PINNED, 0, memory_owner());
    CHECK(status >= MEMORY_OK, "%s", memory_message());
    return memory;
}

static double begin(const struct memory_allocation *memory)
{
    double hold = memory_hold_begin(memory);
    CHECK(hold > 0, "%s", memory_message());
    return hold;
}

static void end_view(double hold)
{
    memory_view_end(NULL, (void *)(uintptr_t)hold);
}

// What is left of one block of the pinned pool, and of memory of the system heap that was freed.
static void expect_left(double block_count, double heap_byte_size)
{
    struct memory_pool_stats stats;
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK, "%s", memory_message());
    CHECK(stats.allocation_count == block_count, "%.0f blocks, not %.0f", stats.allocation_count,
          block_count);
    CHECK(stats.set_aside_byte_size == heap_byte_size, "%.0f bytes of the heap, not %.0f",
          stats.set_aside_byte_size, heap_byte_size);
    CHECK(stats.nonpinned_byte_size == 0, "%.0f bytes are in use", stats.nonpinned_byte_size);
}

// ---- Threads that end

// What a thread does before it ends.
static struct {
    bool makes_buffers, frees;
} task;

static double pinned_hold, heap_hold;

static void hold_and_end(int number)
{
    (void)number;
    struct memory_allocation pinned = alloc_host(BLOCK_BYTE_SIZE),
                             heap = alloc_host(HEAP_BYTE_SIZE);
    pinned_hold = begin(&pinned);
    heap_hold = begin(&heap);
    if (task.makes_buffers) {
        memory_view_begin(pinned_hold);
        memory_view_begin(heap_hold);
    }
    if (!task.frees) return;
    CHECK(try_free(&pinned) == MEMORY_OK, "%s", memory_message());
    CHECK(try_free(&heap) == MEMORY_OK, "%s", memory_message());
}

static void run_to_its_end(bool makes_buffers, bool frees)
{
    task.makes_buffers = makes_buffers;
    task.frees = frees;
    threads_run(1, hold_and_end);
}

static void a_hold_without_a_buffer_ends_with_its_thread(void)
{
    for (int frees = 0; frees < 2; frees++) {
        set_up();
        run_to_its_end(false, frees);
        expect_left(0, 0);
        tear_down();
    }
}

static void a_view_outlives_its_thread(void)
{
    for (int frees = 0; frees < 2; frees++) {
        set_up();
        run_to_its_end(true, frees);
        expect_left(1, HEAP_BYTE_SIZE);
        end_view(pinned_hold);
        expect_left(0, HEAP_BYTE_SIZE);
        end_view(heap_hold);
        expect_left(0, 0);
        tear_down();
    }
}

static void a_buffer_that_nobody_was_told_of_ends_nothing_else(void)
{
    set_up();
    run_to_its_end(false, false);
    expect_left(0, 0);
    struct memory_allocation memory = alloc_host(BLOCK_BYTE_SIZE);
    double holds[] = {begin(&memory), begin(&memory)};
    free_now(&memory);
    end_view(pinned_hold);
    end_view(heap_hold);
    memory_view_begin(pinned_hold);
    expect_left(1, 0);
    memory_hold_end(holds[0]);
    expect_left(1, 0);
    memory_hold_end(holds[0]);
    expect_left(1, 0);
    memory_hold_end(holds[1]);
    expect_left(0, 0);
    tear_down();
}

// ---- Many holds

enum { HOLD_COUNT = 1000 };

static void memory_goes_with_the_last_of_many_holds(void)
{
    static double holds[HOLD_COUNT];
    set_up();
    for (int round = 0; round < 3; round++) {
        struct memory_allocation memory = alloc_host(BLOCK_BYTE_SIZE);
        for (int i = 0; i < HOLD_COUNT; i++) {
            double ended = holds[i];
            holds[i] = begin(&memory);
            CHECK(holds[i] != ended, "a number comes again");
            memory_hold_end(ended);
        }
        free_now(&memory);
        for (int i = 0; i < HOLD_COUNT; i++) {
            expect_left(1, 0);
            memory_hold_end(holds[7 * i % HOLD_COUNT]);
        }
        expect_left(0, 0);
    }
    tear_down();
}

// It comes first: there is room for no hold yet.
static void what_the_system_refuses_is_not_held(void)
{
    static double holds[HOLD_COUNT];
    set_up();
    struct memory_allocation memory = alloc_host(BLOCK_BYTE_SIZE);
    int hold_count = 0;
    for (uint64_t nth = 1; hold_count == 0; nth++) {
        fail_call(nth, false);
        double hold = memory_hold_begin(&memory);
        fail_call(0, false);
        if (hold > 0) holds[hold_count++] = hold;
        else CHECK(hold == MEMORY_INTERNAL, "%.0f: %s", hold, memory_message());
    }
    CHECK(failed_call_count >= 3,
          "the memory's record, its place in the tree, and that of the hold");
    uint64_t failures_before = failed_call_count;
    while (hold_count < HOLD_COUNT) {
        fail_call(1, false);
        double hold = memory_hold_begin(&memory);
        fail_call(0, false);
        holds[hold_count++] = hold > 0 ? hold : begin(&memory);
    }
    CHECK(failed_call_count > failures_before, "room for more holds");
    free_now(&memory);
    for (int i = 0; i < HOLD_COUNT; i++) {
        expect_left(1, 0);
        memory_hold_end(holds[i]);
    }
    expect_left(0, 0);
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("what the system refuses is not held", what_the_system_refuses_is_not_held);
    check_case("a hold without a buffer ends with its thread",
               a_hold_without_a_buffer_ends_with_its_thread);
    check_case("a view outlives its thread", a_view_outlives_its_thread);
    check_case("a buffer that nobody was told of ends nothing else",
               a_buffer_that_nobody_was_told_of_ends_nothing_else);
    check_case("memory goes with the last of many holds", memory_goes_with_the_last_of_many_holds);
    return check_report();
}
