// What a request gets of a full pool whose streams still use freed blocks: what streams have done with,
// or nothing. Streams are held, so that a request that waits for a GPU would never end.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cudart_sim.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "stream_fixture.h"

enum { CUDA_ERROR_UNKNOWN = 999 };

static void hold_all_streams(void)
{
    for (int i = 0; i < STREAM_COUNT; i++) hold_stream(&streams[i], &holds[i]);
}

static void expect_refused(int stream, double byte_size)
{
    struct memory_allocation memory = alloc_on_stream(stream, byte_size);
    CHECK(!is_on_gpu(&memory), "%.0f bytes were served that streams still use", byte_size);
    free_now(&memory);
}

static void expect_served(double byte_size, double address)
{
    struct memory_allocation memory = alloc_now(byte_size);
    CHECK(is_on_gpu(&memory), "%.0f bytes were refused that no stream uses", byte_size);
    CHECK(memory.address == address, "the request got another block");
    free_now(&memory);
}

// ---- What streams have done with

static void a_stream_with_reused_memory_keeps_its_order(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &blocks[2]);
    struct memory_allocation reused = alloc_on_stream(0, BLOCK_BYTE_SIZE);
    free_on_stream(0, &blocks[6]);
    free_now(&reused); // It is pending where it was before: it is still the first of its stream.
    expect_refused(NO_STREAM, BLOCK_BYTE_SIZE);
    release_and_synchronize(0);
    expect_used(POOL_BYTE_SIZE - 2 * BLOCK_BYTE_SIZE);
    tear_down();
}

static void a_request_gets_what_a_stream_has_done_with(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_all_streams();
    free_on_stream(1, &blocks[3]);
    free_on_stream(0, &blocks[5]);
    free_on_stream(2, &blocks[7]);
    expect_refused(NO_STREAM, BLOCK_BYTE_SIZE);
    release_and_synchronize(0);
    struct memory_allocation memory = alloc_now(BLOCK_BYTE_SIZE);
    CHECK(memory.address == blocks[5].address, "the block of the stream that is done");
    expect_refused(NO_STREAM, BLOCK_BYTE_SIZE);
    CHECK(gpu_stats().failed_allocation_count == 2, "a request that is served was never refused");
    release_and_synchronize(1);
    release_and_synchronize(2);
    tear_down();
}

static void blocks_of_several_streams_make_room_together(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_all_streams();
    free_on_stream(0, &blocks[0]);
    free_on_stream(1, &blocks[4]);
    free_on_stream(2, &blocks[5]);
    release_and_synchronize(0);
    release_and_synchronize(2);
    expect_refused(NO_STREAM, 2 * BLOCK_BYTE_SIZE); // There is room enough, but not in one piece.
    release_and_synchronize(1);
    expect_served(2 * BLOCK_BYTE_SIZE, blocks[4].address);
    tear_down();
}

static void free_neighbours_let_a_block_help(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[1], &holds[1]);
    free_on_stream(1, &blocks[5]);
    free_now(&blocks[4]);
    free_now(&blocks[6]);
    expect_refused(NO_STREAM, 3 * BLOCK_BYTE_SIZE);
    release_and_synchronize(1);
    expect_served(3 * BLOCK_BYTE_SIZE, blocks[4].address);
    tear_down();
}

// ---- What is refused

static void a_request_that_no_block_helps_makes_no_stream_wait(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < BLOCK_COUNT; i++) {
        if (i != BLOCK_COUNT / 2) free_on_stream(0, &blocks[i]);
    }
    uint64_t stream_waits_before = stream_wait_count();
    for (int stream = NO_STREAM; stream < STREAM_COUNT; stream++) {
        expect_refused(stream, POOL_BYTE_SIZE / 2 + 1); // One live block is in the way.
    }
    CHECK(gpu_stats().failed_allocation_count == STREAM_COUNT + 1, "each is counted once");
    CHECK(stream_wait_count() == stream_waits_before, "no stream waited");
    release_and_synchronize(0);
    expect_used(BLOCK_BYTE_SIZE);
    tear_down();
}

static void a_request_larger_than_the_pool_looks_at_nothing(void)
{
    set_up();
    free_all_on_held_stream();
    struct memory_allocation pinned;
    CHECK(owned_memory_try_alloc(&pinned, POOL_BYTE_SIZE, memory_owner()) == MEMORY_OK, "no room");
    free_on_stream(0, &pinned);
    uint64_t queries_before = event_query_count();
    for (int stream = NO_STREAM; stream < STREAM_COUNT; stream++) {
        expect_refused(stream, POOL_BYTE_SIZE + 1);
    }
    CHECK(cuda_memory_alloc(POOL_BYTE_SIZE + 1, 0) == MEMORY_OUT_OF_MEMORY, "through the manager");
    CHECK(owned_memory_try_alloc(&pinned, POOL_BYTE_SIZE + 1, memory_owner()) == MEMORY_UNAVAILABLE,
          "pinned");
    CHECK(event_query_count() == queries_before, "no event was asked");
    release_and_synchronize(0);
    CHECK(gpu_stats().failed_allocation_count == STREAM_COUNT + 2, "each is counted once");
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
    struct memory_allocation reused = alloc_on_stream(0, BLOCK_BYTE_SIZE);
    CHECK(is_on_gpu(&reused), "one of the two is reused");
    release_and_synchronize(0);
    expect_refused(NO_STREAM, 2 * BLOCK_BYTE_SIZE);
    tear_down();
}

static void a_request_is_refused_where_its_stream_cannot_wait(void)
{
    set_up();
    free_all_on_held_stream();
    CHECK(cudartSimFailCall("cudaStreamWaitEvent", 1, CUDA_ERROR_UNKNOWN) == 0, "no such call");
    expect_refused(1, POOL_BYTE_SIZE);
    CHECK(cuda_stream_query(&streams[1]) == MEMORY_INTERNAL, "the stream's owner is told");
    CHECK(cuda_stream_query(&streams[1]) == MEMORY_OK, "once");
    release_and_synchronize(0);
    tear_down();
}

static void pinned_memory_is_refused_while_a_stream_uses_it(void)
{
    set_up();
    free_all_on_held_stream();
    expect_nothing_free();
    struct memory_allocation pinned;
    CHECK(owned_memory_try_alloc(&pinned, POOL_BYTE_SIZE, memory_owner()) == MEMORY_OK, "no room");
    free_on_stream(0, &pinned);
    CHECK(owned_memory_try_alloc(&pinned, 1, memory_owner()) == MEMORY_UNAVAILABLE,
          "the pinned pool is in use");
    release_and_synchronize(0);
    CHECK(owned_memory_try_alloc(&pinned, POOL_BYTE_SIZE, memory_owner()) == MEMORY_OK,
          "the stream is done");
    free_now(&pinned);
    tear_down();
}

// ---- Events that tell an error

// The nth query of an event from now fails, whichever event that is.
static void fail_event_query(uint64_t nth)
{
    CHECK(cudartSimFailCall("cudaEventQuery", nth, CUDA_ERROR_UNKNOWN) == 0, "no such call");
}

static void an_event_with_an_error_does_not_hold_up_the_next(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < 3; i++) free_on_stream(0, &blocks[2 * i]);
    release_and_synchronize(0);
    static struct hold later; // The stream is busy with what comes after the blocks.
    hold_stream(&streams[0], &later);
    fail_event_query(1);
    fail_event_query(4);                               // where the first is asked again
    expect_used(POOL_BYTE_SIZE - 2 * BLOCK_BYTE_SIZE); // The first is not known to be unused.
    expect_used(POOL_BYTE_SIZE - 3 * BLOCK_BYTE_SIZE); // It tells no error when it is asked again.
    CHECK(cuda_stream_query(&streams[0]) == MEMORY_NOT_DONE, "the stream is still busy");
    release_stream(&later);
    CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_INTERNAL, "its owner is told the error");
    synchronize(0);
    tear_down();
}

static void an_event_with_an_error_is_over_when_its_stream_is_idle(void)
{
    set_up();
    struct memory_allocation blocks[BLOCK_COUNT];
    alloc_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &blocks[0]);
    free_on_stream(0, &blocks[2]);
    release_and_synchronize(0);
    for (uint64_t nth = 1; nth <= 8; nth++) fail_event_query(nth);
    expect_used(POOL_BYTE_SIZE - 2 * BLOCK_BYTE_SIZE);
    cudartSimClearFaults();
    CHECK(cuda_stream_query(&streams[0]) == MEMORY_INTERNAL, "its owner is told the error");
    tear_down();
}

// Nobody may have a block of which it is not known whether the GPU is done with it.
static void a_block_with_an_error_is_not_reused(void)
{
    set_up();
    struct memory_allocation memory = free_all_on_held_stream();
    fail_event_query(1);
    expect_used(POOL_BYTE_SIZE);
    for (int stream = 0; stream < STREAM_COUNT; stream++) expect_refused(stream, 1);
    CHECK(try_free(&memory) == MEMORY_INVALID_ARG, "it was freed already");
    release_stream(&holds[0]);
    CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_INTERNAL, "its owner is told the error");
    expect_used(0);
    tear_down();
}

static void a_reused_block_with_an_error_stays_its_owners(void)
{
    set_up();
    free_all_on_held_stream();
    struct memory_allocation reused = alloc_on_stream(0, POOL_BYTE_SIZE);
    fail_event_query(1);
    expect_used(POOL_BYTE_SIZE);
    free_now(&reused); // It is pending again, and nobody may have it.
    for (int stream = 0; stream < STREAM_COUNT; stream++) expect_refused(stream, 1);
    release_stream(&holds[0]);
    CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_INTERNAL, "its owner is told the error");
    expect_used(0);
    tear_down();
}

// The stream was destroyed, and nobody can be asked whether it is idle but its whole GPU.
static void a_reset_takes_back_what_had_an_error(void)
{
    set_up();
    struct memory_allocation pinned;
    CHECK(owned_memory_try_alloc(&pinned, POOL_BYTE_SIZE, memory_owner()) == MEMORY_OK, "no room");
    struct cuda_stream stream;
    CHECK(cuda_stream_create(&stream, 0) == MEMORY_OK, "%s", memory_message());
    hold_stream(&stream, &holds[0]);
    CHECK(owned_memory_free_on_stream(&pinned, &stream, memory_owner()) == MEMORY_OK, "%s",
          memory_message());
    CHECK(cuda_stream_destroy(&stream) == MEMORY_OK, "%s", memory_message());
    struct memory_pool_stats stats;
    for (int i = 0; i < 3; i++) {
        fail_event_query(1);
        CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == POOL_BYTE_SIZE,
              "the memory is not known to be unused");
    }
    release_stream(&holds[0]);
    CHECK(cuda_memory_reset() == MEMORY_OK, "%s", memory_message());
    fail_event_query(1);
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == 0,
          "the GPU has done all its work");
    cudartSimClearFaults();
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("a stream with reused memory keeps its order",
               a_stream_with_reused_memory_keeps_its_order);
    check_case("a request gets what a stream has done with",
               a_request_gets_what_a_stream_has_done_with);
    check_case("blocks of several streams make room together",
               blocks_of_several_streams_make_room_together);
    check_case("free neighbours let a block help", free_neighbours_let_a_block_help);
    check_case("a request that no block helps makes no stream wait",
               a_request_that_no_block_helps_makes_no_stream_wait);
    check_case("a request larger than the pool looks at nothing",
               a_request_larger_than_the_pool_looks_at_nothing);
    check_case("a reused block does not help", a_reused_block_does_not_help);
    check_case("a request is refused where its stream cannot wait",
               a_request_is_refused_where_its_stream_cannot_wait);
    check_case("pinned memory is refused while a stream uses it",
               pinned_memory_is_refused_while_a_stream_uses_it);
    check_case("an event with an error does not hold up the next",
               an_event_with_an_error_does_not_hold_up_the_next);
    check_case("an event with an error is over when its stream is idle",
               an_event_with_an_error_is_over_when_its_stream_is_idle);
    check_case("a block with an error is not reused", a_block_with_an_error_is_not_reused);
    check_case("a reused block with an error stays its owner's",
               a_reused_block_with_an_error_stays_its_owners);
    check_case("a reset takes back what had an error", a_reset_takes_back_what_had_an_error);
    return check_report();
}
