// Pending memory is reused by a request for a stream before the earlier use is over: which requests
// reuse which memory, and what becomes of it when it is freed again.

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "stream_fixture.h"
#include "threads.h"

// ---- Which pending memory a request reuses

static void a_stream_reuses_its_own_pending_memory_at_once(void)
{
    set_up();
    uint64_t stream_waits_before = stream_wait_count();
    struct memory_allocation first = alloc_now(1500), other = alloc_now(1500);
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < 10; i++) {
        free_on_stream(0, &first);
        struct memory_allocation again = alloc_on_stream(0, 1500);
        CHECK(again.address == first.address, "a block of the size that was freed before");
        CHECK(again.byte_size == 1500 && again.origin == first.origin,
              "the size that was asked for, in the same generation");
        struct memory_allocation more = alloc_on_stream(0, 1500);
        CHECK(more.address != first.address, "a block has two owners");
        free_now(&more);
        first = again;
    }
    free_on_stream(0, &first);
    free_on_stream(0, &other);
    struct memory_allocation rest = alloc_now(POOL_BYTE_SIZE - 2 * 1536);
    CHECK(is_on_gpu(&rest), "the rest of the pool is free");
    struct memory_allocation small = alloc_on_stream(0, 512);
    CHECK(is_on_gpu(&small), "where the pool is full, a larger pending block will do");
    CHECK(stream_wait_count() == stream_waits_before, "no stream waited");
    free_on_stream(0, &small);
    free_now(&rest);
    release_and_synchronize(0);
    expect_used(0);
    tear_down();
}

static void another_stream_that_reuses_memory_is_made_to_wait(void)
{
    set_up();
    struct memory_allocation memory = free_all_on_held_stream();
    for (int stream = 1; stream < STREAM_COUNT; stream++) {
        struct memory_allocation reused = alloc_on_stream(stream, 700);
        CHECK(reused.address == memory.address, "the pending block is reused");
        CHECK(cuda_stream_query(&streams[stream]) == MEMORY_NOT_DONE,
              "the stream waits for the other");
        free_on_stream(stream, &reused);
    }
    release_and_synchronize(0);
    for (int stream = 1; stream < STREAM_COUNT; stream++) synchronize(stream);
    expect_used(0);
    tear_down();
}

// More blocks than a look at each of them would find in time, most of them reused.
static void the_smallest_block_that_is_large_enough_is_reused(void)
{
    set_up();
    enum { GRANULE_COUNT = 9 };
    struct memory_allocation blocks[GRANULE_COUNT], reused[GRANULE_COUNT];
    double used_byte_size = 0;
    for (int i = 0; i < GRANULE_COUNT; i++) {
        blocks[i] = alloc_now((i * 4 % GRANULE_COUNT + 1) * 512.0);
        used_byte_size += blocks[i].byte_size;
    }
    struct memory_allocation rest = alloc_now(POOL_BYTE_SIZE - used_byte_size);
    CHECK(is_on_gpu(&rest), "the rest of the pool is free");
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < GRANULE_COUNT; i++) free_on_stream(0, &blocks[i]);
    // Stream 0 takes the blocks of 2, 4, 6, ... granules, where the smaller ones are gone.
    for (int i = 0; i < GRANULE_COUNT / 2; i++) {
        reused[i] = alloc_on_stream(0, (2 * i + 1) * 512.0 + 1);
        CHECK(is_on_gpu(&reused[i]), "a pending block serves");
    }
    // Stream 1 takes the others, for requests of as many granules less a byte.
    for (int i = GRANULE_COUNT / 2; i < GRANULE_COUNT; i++) {
        int granule_count = 2 * (i - GRANULE_COUNT / 2) + 1;
        reused[i] = alloc_on_stream(1, granule_count * 512.0 - 1);
        CHECK(is_on_gpu(&reused[i]), "no pending block of %d granules is left", granule_count);
    }
    expect_nothing_free();
    struct memory_allocation refused = alloc_on_stream(1, 1);
    CHECK(!is_on_gpu(&refused), "all blocks are reused");
    free_now(&refused);
    for (int i = 0; i < GRANULE_COUNT; i++) free_now(&reused[i]);
    free_now(&rest);
    release_and_synchronize(0);
    synchronize(1);
    expect_used(0);
    tear_down();
}

static void memory_that_no_stream_uses_comes_before_making_one_wait(void)
{
    set_up();
    uint64_t stream_waits_before = stream_wait_count();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &blocks[0]);
    free_on_stream(1, &blocks[5]);
    synchronize(1);
    struct memory_allocation memory = alloc_on_stream(2, BLOCK_BYTE_SIZE);
    CHECK(memory.address == blocks[5].address, "the block that no stream uses");
    CHECK(stream_wait_count() == stream_waits_before, "no stream waits");
    release_and_synchronize(0);
    tear_down();
}

static void pending_host_memory_is_not_reused(void)
{
    set_up();
    struct memory_allocation pinned, other;
    CHECK(owned_memory_alloc(&pinned, POOL_BYTE_SIZE, MEMORY_CPU, 0, memory_owner()) == MEMORY_OK,
          "%s", memory_message());
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &pinned);
    CHECK(owned_memory_alloc_on_stream(&other, POOL_BYTE_SIZE, MEMORY_CPU_PINNED, 0, &streams[0],
                                       memory_owner()) >= MEMORY_OK,
          "%s", memory_message());
    CHECK(memory_type_of(&other) == MEMORY_CPU,
          "what the host does with it is in no stream's order");
    free_now(&other);
    release_and_synchronize(0);
    tear_down();
}

// ---- What becomes of reused memory

// Reuses the whole pool for a stream while stream 0, which is held, still uses it.
static struct memory_allocation alloc_reused(int stream)
{
    struct memory_allocation memory = free_all_on_held_stream();
    struct memory_allocation reused = alloc_on_stream(stream, POOL_BYTE_SIZE);
    CHECK(reused.address == memory.address, "the pending block is reused");
    return reused;
}

// The memory was freed again. It stays pending until stream 0 is released.
static void expect_pending(const struct memory_allocation *freed)
{
    expect_nothing_free();
    CHECK(try_free(freed) == MEMORY_INVALID_ARG, "it is freed only once");
    release_and_synchronize(0);
    for (int i = 0; i < STREAM_COUNT; i++) synchronize(i);
    expect_used(0);
}

static void reused_memory_that_is_freed_is_pending_again(void)
{
    for (int stream = 0; stream < STREAM_COUNT; stream++) {
        set_up();
        struct memory_allocation reused = alloc_reused(stream);
        free_now(&reused);
        expect_pending(&reused);
        tear_down();
    }
}

static void reused_memory_that_is_freed_through_its_address_is_pending_again(void)
{
    set_up();
    struct memory_allocation reused = alloc_reused(0);
    CHECK(cuda_memory_free(reused.address, 0) == MEMORY_OK, "%s", memory_message());
    expect_pending(&reused);
    tear_down();
}

static void reused_memory_that_is_freed_on_a_third_stream_waits_for_all(void)
{
    set_up();
    struct memory_allocation reused = alloc_reused(1);
    free_on_stream(2, &reused);
    sleep_microseconds(10 * 1000); // Without a wait, the third stream would be done by then.
    expect_pending(&reused);
    tear_down();
}

static void reused_memory_is_reused_again(void)
{
    set_up();
    struct memory_allocation reused = alloc_reused(0);
    for (int i = 0; i < 12; i++) {
        if (i % 3 == 0) free_now(&reused);
        else free_on_stream(i % STREAM_COUNT, &reused);
        struct memory_allocation next = alloc_on_stream(i / 2 % STREAM_COUNT, POOL_BYTE_SIZE);
        CHECK(next.address == reused.address, "every stream can reuse it");
        reused = next;
    }
    free_now(&reused);
    expect_pending(&reused);
    tear_down();
}

static void reused_memory_is_like_any_other_when_the_earlier_use_is_over(void)
{
    set_up();
    struct memory_allocation reused = alloc_reused(1);
    release_and_synchronize(0);
    expect_used(POOL_BYTE_SIZE); // Reading the statistics finds out that the earlier use is over.
    free_now(&reused);
    reused = alloc_now(POOL_BYTE_SIZE);
    CHECK(is_on_gpu(&reused), "it was freed at once");
    free_now(&reused);
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("a stream reuses its own pending memory at once",
               a_stream_reuses_its_own_pending_memory_at_once);
    check_case("another stream that reuses memory is made to wait",
               another_stream_that_reuses_memory_is_made_to_wait);
    check_case("the smallest block that is large enough is reused",
               the_smallest_block_that_is_large_enough_is_reused);
    check_case("memory that no stream uses comes before making one wait",
               memory_that_no_stream_uses_comes_before_making_one_wait);
    check_case("pending host memory is not reused", pending_host_memory_is_not_reused);
    check_case("reused memory that is freed is pending again",
               reused_memory_that_is_freed_is_pending_again);
    check_case("reused memory that is freed through its address is pending again",
               reused_memory_that_is_freed_through_its_address_is_pending_again);
    check_case("reused memory that is freed on a third stream waits for all",
               reused_memory_that_is_freed_on_a_third_stream_waits_for_all);
    check_case("reused memory is reused again", reused_memory_is_reused_again);
    check_case("reused memory is like any other when the earlier use is over",
               reused_memory_is_like_any_other_when_the_earlier_use_is_over);
    return check_report();
}
