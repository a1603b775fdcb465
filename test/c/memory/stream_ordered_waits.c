// What a request for a full pool waits for: the block that was freed first of those that help.
// Streams are held, so that a request that waits for the wrong one would never end by itself.

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cudart_sim.h"
#include "held_stream.h"
#include "stream_fixture.h"
#include "threads.h"

enum { CUDA_ERROR_UNKNOWN = 999 };

// ---- A request that waits while streams are released

// Releases the streams in this order, the next each time that the library waits for an event. A
// library that goes on waiting after the last waits for a stream that it should not wait for: then
// all streams are released, so that the case ends, and fails.
struct releaser {
    const int *order;
    int count;
    uint64_t host_waits_before;
    atomic_bool is_served;
    bool has_waited_for_others;
};

// Whether the library comes to wait for one event more than it has already. It is false where the
// request is served, or where nothing happens for some seconds.
static bool waits_again(struct releaser *releaser, int already_count)
{
    for (int i = 0; i < 50 * 1000 && !releaser->is_served; i++) {
        if (host_wait_count() - releaser->host_waits_before > (uint64_t)already_count) return true;
        sleep_microseconds(100);
    }
    return false;
}

static void *release_in_order(void *argument)
{
    struct releaser *releaser = argument;
    for (int i = 0; i < releaser->count && waits_again(releaser, i); i++) {
        release_stream(&holds[releaser->order[i]]);
    }
    if (waits_again(releaser, releaser->count) || !releaser->is_served) {
        releaser->has_waited_for_others = true;
        for (int i = 0; i < STREAM_COUNT; i++) release_stream(&holds[i]);
    }
    return NULL;
}

// A request that has to wait for exactly the streams in this order.
static struct memory_allocation alloc_on_stream_after_releases(int stream, double byte_size,
                                                               const int *order, int count)
{
    struct releaser releaser = {
        .order = order, .count = count, .host_waits_before = host_wait_count()};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release_in_order, &releaser) == 0, "no thread");
    struct memory_allocation allocation = alloc_on_stream(stream, byte_size, true);
    releaser.is_served = true;
    pthread_join(thread, NULL);
    CHECK(!releaser.has_waited_for_others, "the request waited for more streams than it had to");
    CHECK(host_wait_count() - releaser.host_waits_before == (uint64_t)count,
          "the request waited more or less often than %d times", count);
    return allocation;
}

static struct memory_allocation alloc_after_releases(double byte_size, const int *order, int count)
{
    struct memory_allocation allocation =
        alloc_on_stream_after_releases(NO_STREAM, byte_size, order, count);
    CHECK(is_on_gpu(&allocation), "waiting was for nothing");
    return allocation;
}

// ---- What a request waits for

static void a_stream_with_reused_memory_keeps_its_order(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &blocks[2]);
    struct memory_allocation reused = alloc_on_stream(0, BLOCK_BYTE_SIZE, true);
    free_on_stream(0, &blocks[6]);
    free_now(&reused); // It is pending where it was before: it is still the first of its stream.
    struct memory_allocation memory = alloc_after_releases(BLOCK_BYTE_SIZE, (const int[]){0}, 1);
    CHECK(memory.address == blocks[2].address || memory.address == blocks[6].address,
          "one of the two blocks that were freed on the stream");
    tear_down();
}

static void a_request_waits_for_the_block_that_was_freed_first(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    for (int i = 0; i < STREAM_COUNT; i++) hold_stream(&streams[i], &holds[i]);
    free_on_stream(1, &blocks[3]);
    free_on_stream(0, &blocks[5]);
    free_on_stream(2, &blocks[7]);
    struct memory_allocation memory = alloc_after_releases(BLOCK_BYTE_SIZE, (const int[]){1}, 1);
    CHECK(memory.address == blocks[3].address, "the block that was freed first");
    struct memory_pool_stats stats = gpu_stats();
    CHECK(stats.failed_allocation_count == 0, "a request that is served was never refused");
    release_and_synchronize(0);
    release_and_synchronize(2);
    tear_down();
}

static void a_request_waits_only_for_blocks_that_help(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    for (int i = 0; i < STREAM_COUNT; i++) hold_stream(&streams[i], &holds[i]);
    free_on_stream(0, &blocks[0]); // It is too small alone.
    free_on_stream(1, &blocks[4]);
    free_on_stream(2, &blocks[5]); // With the one before it, there is room for the request.
    free_on_stream(0, &blocks[1]); // The pair that it completes was freed later than the other.
    struct memory_allocation memory =
        alloc_after_releases(2 * BLOCK_BYTE_SIZE, (const int[]){2, 1}, 2);
    CHECK(memory.address == blocks[4].address, "the pair that was complete first");
    release_and_synchronize(0);
    tear_down();
}

static void free_neighbours_let_a_block_help(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    hold_stream(&streams[1], &holds[1]);
    free_on_stream(0, &blocks[0]);
    free_on_stream(1, &blocks[5]);
    free_now(&blocks[4]);
    free_now(&blocks[6]);
    struct memory_allocation memory =
        alloc_after_releases(3 * BLOCK_BYTE_SIZE, (const int[]){1}, 1);
    CHECK(memory.address == blocks[4].address, "the block between two free ones");
    release_and_synchronize(0);
    tear_down();
}

static void a_request_that_no_block_helps_does_not_wait(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < BLOCK_COUNT; i++) {
        if (i != BLOCK_COUNT / 2) free_on_stream(0, &blocks[i]);
    }
    uint64_t host_waits_before = host_wait_count();
    uint64_t stream_waits_before = stream_wait_count();
    for (int stream = NO_STREAM; stream < STREAM_COUNT; stream++) {
        struct memory_allocation memory = alloc_on_stream(stream, POOL_BYTE_SIZE / 2 + 1, true);
        CHECK(!is_on_gpu(&memory), "one live block is in the way");
        free_now(&memory);
    }
    CHECK(gpu_stats().failed_allocation_count == STREAM_COUNT + 1, "each is counted once");
    CHECK(host_wait_count() == host_waits_before, "the host did not wait");
    CHECK(stream_wait_count() == stream_waits_before, "no stream waited");
    release_and_synchronize(0);
    expect_used(BLOCK_BYTE_SIZE);
    tear_down();
}

static void a_reused_block_does_not_help(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &blocks[0]);
    free_on_stream(0, &blocks[1]);
    struct memory_allocation reused = alloc_on_stream(0, BLOCK_BYTE_SIZE, true);
    CHECK(is_on_gpu(&reused), "one of the two is reused");
    struct memory_allocation memory =
        alloc_on_stream_after_releases(NO_STREAM, 2 * BLOCK_BYTE_SIZE, NULL, 0);
    CHECK(!is_on_gpu(&memory), "the block that is still pending is too small alone");
    free_now(&memory);
    release_and_synchronize(0);
    tear_down();
}

static void a_request_waits_where_its_stream_cannot(void)
{
    set_up();
    free_all_on_held_stream();
    CHECK(cudartSimFailCall("cudaStreamWaitEvent", 1, CUDA_ERROR_UNKNOWN) == 0, "no such call");
    struct memory_allocation memory =
        alloc_on_stream_after_releases(1, POOL_BYTE_SIZE, (const int[]){0}, 1);
    CHECK(is_on_gpu(&memory), "waiting was for nothing");
    free_now(&memory);
    CHECK(cuda_stream_query(&streams[1]) == MEMORY_INTERNAL, "the stream's owner is told");
    CHECK(cuda_stream_query(&streams[1]) == MEMORY_OK, "once");
    tear_down();
}

static void a_request_that_may_not_wait_falls_back(void)
{
    set_up();
    free_all_on_held_stream();
    uint64_t host_waits_before = host_wait_count();
    expect_nothing_free();
    struct memory_allocation pinned;
    CHECK(pinned_memory_try_alloc(&pinned, POOL_BYTE_SIZE, 0) == MEMORY_OK, "no room");
    free_on_stream(0, &pinned);
    CHECK(pinned_memory_try_alloc(&pinned, 1, 0) == MEMORY_UNAVAILABLE,
          "the pinned pool is in use");
    CHECK(host_wait_count() == host_waits_before, "the host did not wait");
    release_and_synchronize(0);
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("a stream with reused memory keeps its order",
               a_stream_with_reused_memory_keeps_its_order);
    check_case("a request waits for the block that was freed first",
               a_request_waits_for_the_block_that_was_freed_first);
    check_case("a request waits only for blocks that help",
               a_request_waits_only_for_blocks_that_help);
    check_case("free neighbours let a block help", free_neighbours_let_a_block_help);
    check_case("a request that no block helps does not wait",
               a_request_that_no_block_helps_does_not_wait);
    check_case("a reused block does not help", a_reused_block_does_not_help);
    check_case("a request waits where its stream cannot", a_request_waits_where_its_stream_cannot);
    check_case("a request that may not wait falls back", a_request_that_may_not_wait_falls_back);
    return check_report();
}
