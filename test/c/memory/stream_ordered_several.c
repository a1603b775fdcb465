// Memory that is freed on several streams is pending until all of them are done, in whatever order, and
// none of them is made to wait for another.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "stream_fixture.h"

static enum memory_status try_free_on_streams(const struct memory_allocation *memory,
                                              const struct cuda_stream *some, int count)
{
    return allocated_memory_free_on_streams(memory, some, count);
}

static void free_on_all(const struct memory_allocation *memory)
{
    CHECK(try_free_on_streams(memory, streams, STREAM_COUNT) == MEMORY_OK, "%s", memory_message());
}

static void hold_all(void)
{
    for (int i = 0; i < STREAM_COUNT; i++) hold_stream(&streams[i], &holds[i]);
}

static void it_goes_back_with_the_last_stream(void)
{
    for (int last = 0; last < STREAM_COUNT; last++) {
        set_up();
        hold_all();
        struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
        uint64_t wait_count = stream_wait_count();
        free_on_all(&memory);
        for (int i = 1; i <= STREAM_COUNT; i++) {
            expect_used(POOL_BYTE_SIZE);
            expect_nothing_free();
            release_and_synchronize((last + i) % STREAM_COUNT);
        }
        CHECK(stream_wait_count() == wait_count, "no stream waits for another");
        expect_used(0);
        memory = alloc_now(POOL_BYTE_SIZE);
        CHECK(is_on_gpu(&memory), "all of the pool is free again");
        free_now(&memory);
        tear_down();
    }
}

static void it_does_not_wait_for_later_work(void)
{
    set_up();
    struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
    free_on_all(&memory);
    for (int i = 0; i < STREAM_COUNT; i++) synchronize(i);
    hold_all();
    expect_used(0);
    for (int i = 0; i < STREAM_COUNT; i++) release_and_synchronize(i);
    tear_down();
}

static void no_request_has_it_before(void)
{
    set_up();
    hold_all();
    struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
    free_on_all(&memory);
    for (int i = 0; i < STREAM_COUNT; i++) {
        struct memory_allocation other = alloc_on_stream(i, POOL_BYTE_SIZE);
        CHECK(!is_on_gpu(&other), "another stream still uses it");
        free_now(&other);
    }
    for (int i = 0; i < STREAM_COUNT; i++) release_and_synchronize(i);
    expect_used(0);
    tear_down();
}

static void it_is_freed_only_once(void)
{
    set_up();
    hold_all();
    struct memory_allocation memory = alloc_now(1000);
    free_on_all(&memory);
    for (int released = 0; released < STREAM_COUNT; released++) {
        CHECK(try_free_on_streams(&memory, streams, STREAM_COUNT) == MEMORY_INVALID_ARG, "again");
        CHECK(try_free_on_stream(1, &memory) == MEMORY_INVALID_ARG, "on one of its streams");
        CHECK(try_free(&memory) == MEMORY_INVALID_ARG, "without a stream");
        CHECK(cuda_memory_free(memory.address, 0) == MEMORY_INVALID_ARG, "by its address");
        release_and_synchronize(released);
        (void)gpu_stats(); // which takes back what it can
    }
    expect_used(0);
    CHECK(try_free_on_streams(&memory, streams, STREAM_COUNT) == MEMORY_INVALID_ARG, "at last");
    tear_down();
}

static void a_stream_that_is_named_twice_is_one(void)
{
    set_up();
    hold_all();
    const struct cuda_stream twice[] = {streams[1], streams[1]};
    const struct cuda_stream some[] = {streams[0], streams[2], streams[0], streams[2], streams[2]};
    struct memory_allocation memory = alloc_now(1000), other = alloc_now(1000);
    CHECK(try_free_on_streams(&memory, twice, 2) == MEMORY_OK, "%s", memory_message());
    CHECK(try_free_on_streams(&other, some, 5) == MEMORY_OK, "%s", memory_message());
    struct memory_allocation reused = alloc_on_stream(1, 1000);
    CHECK(reused.address == memory.address, "it is freed as on one stream");
    free_now(&reused);
    release_and_synchronize(1);
    expect_used(1024);
    release_and_synchronize(0);
    expect_used(1024);
    release_and_synchronize(2);
    expect_used(0);
    tear_down();
}

static void host_memory_too(void)
{
    set_up();
    struct memory_allocation pinned, nonpinned;
    CHECK(owned_memory_alloc(&pinned, POOL_BYTE_SIZE, MEMORY_CPU, 0, memory_owner()) == MEMORY_OK,
          "%s", memory_message());
    CHECK(owned_memory_alloc(&nonpinned, 100, MEMORY_CPU, 0, memory_owner()) >= MEMORY_OK, "%s",
          memory_message());
    hold_all();
    free_on_all(&pinned);
    free_on_all(&nonpinned);
    CHECK(try_free(&nonpinned) == MEMORY_INVALID_ARG, "it is freed twice");
    struct memory_pool_stats stats;
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == POOL_BYTE_SIZE,
              "a stream still uses it");
        // A sanitizer would report a write to memory that is back on the heap.
        memset((void *)(uintptr_t)nonpinned.address, 1, 100);
        release_and_synchronize(i);
    }
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == 0, "all are done");
    tear_down();
}

// The earlier use of what is reused may go on after all that the streams do.
static void an_earlier_use_counts_too(void)
{
    for (int is_first = 0; is_first < 2; is_first++) {
        set_up();
        struct memory_allocation memory = free_all_on_held_stream();
        struct memory_allocation reused = alloc_on_stream(0, POOL_BYTE_SIZE);
        CHECK(reused.address == memory.address, "the stream's own block is reused");
        hold_stream(&streams[1], &holds[1]);
        CHECK(try_free_on_streams(&reused, &streams[1], 2) == MEMORY_OK, "%s", memory_message());
        synchronize(2);
        release_and_synchronize(is_first ? 0 : 1);
        expect_used(POOL_BYTE_SIZE);
        release_and_synchronize(is_first ? 1 : 0);
        expect_used(0);
        tear_down();
    }
}

static void a_reset_takes_it(void)
{
    for (int first_destroyed = 0; first_destroyed < 2; first_destroyed++) {
        set_up();
        struct memory_allocation blocks[BLOCK_COUNT];
        alloc_all(blocks);
        for (int i = 0; i < BLOCK_COUNT; i++) {
            CHECK(try_free_on_streams(&blocks[i], &streams[i % 2], 2) == MEMORY_OK, "%s",
                  memory_message());
        }
        if (first_destroyed) CHECK(cuda_stream_destroy(&streams[0]) == MEMORY_OK, "destroyed");
        tear_down();
    }
}

static void memory_of_an_earlier_generation_is_gone_already(void)
{
    set_up();
    struct memory_allocation memory = alloc_now(1000);
    tear_down();
    set_up();
    struct memory_allocation later = alloc_now(1000);
    CHECK(later.address == memory.address, "the same address in a later generation");
    free_on_all(&memory);
    free_now(&later);
    tear_down();
}

// ---- Borrowed streams

static struct cuda_stream borrow(const struct cuda_stream *stream)
{
    struct cuda_stream borrowed;
    enum memory_status status = cuda_stream_borrow(&borrowed, stream->handle, stream->device_id);
    CHECK(status == MEMORY_OK, "%s", memory_message());
    return borrowed;
}

static void a_borrowed_stream_is_one_by_its_handle(void)
{
    set_up();
    struct cuda_stream first = borrow(&streams[0]), second = borrow(&streams[0]);
    CHECK(first.id == second.id && first.id != streams[0].id, "the handle is one stream");
    CHECK(borrow(&streams[1]).id != first.id, "another is another");
    CHECK(cuda_stream_destroy(&first) == MEMORY_OK, "%s", memory_message());
    CHECK(borrow(&streams[0]).id == first.id, "it is still borrowed");
    CHECK(cuda_stream_destroy(&first) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_destroy(&first) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_destroy(&first) == MEMORY_OK, "that it is not borrowed is no error");
    struct cuda_stream third = borrow(&streams[0]);
    CHECK(third.id != first.id, "its owner may have destroyed it meanwhile");
    CHECK(cuda_stream_query(&third) == MEMORY_OK, "it lives: %s", memory_message());
    CHECK(cuda_stream_destroy(&third) == MEMORY_OK, "%s", memory_message());
    struct cuda_stream other = borrow(&streams[1]);
    for (int i = 0; i < 2; i++) CHECK(cuda_stream_destroy(&other) == MEMORY_OK, "twice");
    tear_down();
}

static void the_default_stream_has_two_handles(void)
{
    set_up();
    struct cuda_stream legacy, same, of_thread, of_other_gpu;
    CHECK(cuda_stream_borrow(&legacy, 0, 0) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_borrow(&same, 1, 0) == MEMORY_OK, "%s", memory_message());
    CHECK(legacy.id == same.id && legacy.handle == 0 && same.handle == 1, "they are one");
    CHECK(cuda_stream_borrow(&of_other_gpu, 0, 1) == MEMORY_OK, "%s", memory_message());
    CHECK(of_other_gpu.id != legacy.id, "each GPU has one");
    CHECK(cuda_stream_borrow(&of_thread, 2, 0) == MEMORY_UNSUPPORTED, "each thread has one");
    hold_stream(&legacy, &holds[0]);
    struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
    CHECK(try_free_on_streams(&memory, &same, 1) == MEMORY_OK, "%s", memory_message());
    expect_used(POOL_BYTE_SIZE);
    release_stream(&holds[0]);
    CHECK(cuda_stream_synchronize(&legacy) == MEMORY_OK, "%s", memory_message());
    expect_used(0);
    CHECK(cuda_stream_destroy(&legacy) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_destroy(&same) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_destroy(&of_other_gpu) == MEMORY_OK, "%s", memory_message());
    tear_down();
}

// The owner of a borrowed stream destroys it, and CUDA gives the handle to another stream: what was freed on
// the first is reused on the second only behind it.
static void a_handle_that_is_given_again_is_no_hazard(void)
{
    set_up();
    struct cuda_stream borrowed = borrow(&streams[0]);
    struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
    hold_stream(&borrowed, &holds[0]);
    CHECK(try_free_on_streams(&memory, &borrowed, 1) == MEMORY_OK, "%s", memory_message());
    borrowed.handle = streams[1].handle; // as if CUDA had given it again
    uint64_t wait_count = stream_wait_count();
    struct memory_allocation reused;
    CHECK(owned_memory_alloc_on_stream(&reused, POOL_BYTE_SIZE, MEMORY_GPU, 0, &borrowed,
                                       memory_owner()) == MEMORY_OK,
          "%s", memory_message());
    CHECK(reused.address == memory.address, "the block is reused");
    CHECK(stream_wait_count() == wait_count + 1, "behind its event");
    CHECK(cuda_stream_query(&streams[1]) == MEMORY_NOT_DONE, "the other stream waits");
    CHECK(try_free_on_streams(&reused, &borrowed, 1) == MEMORY_OK, "%s", memory_message());
    CHECK(stream_wait_count() == wait_count + 2, "once more");
    release_and_synchronize(0);
    synchronize(1);
    expect_used(0);
    CHECK(cuda_stream_destroy(&borrowed) == MEMORY_OK, "%s", memory_message());
    tear_down();
}

// A driver that is asked about a stream that was destroyed ends the process.
static void nobody_asks_about_a_borrowed_stream(void)
{
    set_up();
    struct cuda_stream borrowed = borrow(&streams[0]);
    CHECK(cuda_stream_destroy(&streams[0]) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_create(&streams[0], 0) == MEMORY_OK, "%s", memory_message());
    (void)gpu_stats();
    CHECK(cuda_stream_check_all() == MEMORY_OK, "%s", memory_message());
    reset_managers();
    CHECK(cuda_stream_query(&borrowed) == MEMORY_INTERNAL, "the simulator says that it is gone");
    CHECK(cuda_stream_destroy(&borrowed) == MEMORY_OK, "%s", memory_message());
    tear_down();
}

static void a_stream_waits_for_another(void)
{
    set_up();
    for (int i = 0; i < STREAM_COUNT; i++) {
        int other = (i + 1) % STREAM_COUNT; // also one of another GPU
        hold_stream(&streams[other], &holds[other]);
        CHECK(cuda_stream_wait_for(&streams[i], &streams[other]) == MEMORY_OK, "%s",
              memory_message());
        CHECK(cuda_stream_query(&streams[i]) == MEMORY_NOT_DONE, "it waits");
        release_and_synchronize(other);
        synchronize(i);
        hold_stream(&streams[other], &holds[other]);
        CHECK(cuda_stream_query(&streams[i]) == MEMORY_OK, "and not for what came later");
        CHECK(cuda_stream_wait_for(&streams[i], &streams[i]) == MEMORY_OK, "%s", memory_message());
        synchronize(i); // nor for itself
        release_and_synchronize(other);
    }
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("memory freed on several streams goes back with the last",
               it_goes_back_with_the_last_stream);
    check_case("memory freed on several streams does not wait for later work",
               it_does_not_wait_for_later_work);
    check_case("no request has memory freed on several streams before", no_request_has_it_before);
    check_case("memory freed on several streams is freed only once", it_is_freed_only_once);
    check_case("a stream that is named twice is one", a_stream_that_is_named_twice_is_one);
    check_case("host memory is freed on several streams too", host_memory_too);
    check_case("an earlier use of reused memory counts too", an_earlier_use_counts_too);
    check_case("a reset takes memory freed on several streams", a_reset_takes_it);
    check_case("memory of an earlier generation is gone already",
               memory_of_an_earlier_generation_is_gone_already);
    check_case("a borrowed stream is one by its handle", a_borrowed_stream_is_one_by_its_handle);
    check_case("the default stream has two handles", the_default_stream_has_two_handles);
    check_case("a handle that is given again is no hazard",
               a_handle_that_is_given_again_is_no_hazard);
    check_case("nobody asks about a borrowed stream", nobody_asks_about_a_borrowed_stream);
    check_case("a stream waits for another", a_stream_waits_for_another);
    return check_report();
}
