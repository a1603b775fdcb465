// Memory that is freed on a stream is pending until the stream is done: it counts as used, cannot
// be allocated and cannot be freed again.

#include <stdint.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "stream_fixture.h"

static void pending_memory_is_free_when_its_stream_is_done(void)
{
    set_up();
    struct memory_allocation memory = free_all_on_held_stream();
    expect_used(POOL_BYTE_SIZE);
    expect_nothing_free();
    release_and_synchronize(0);
    expect_used(0);
    memory = alloc_now(POOL_BYTE_SIZE);
    CHECK(is_on_gpu(&memory), "all of the pool is free again");
    free_now(&memory);
    tear_down();
}

static void a_full_pool_takes_back_what_no_stream_uses(void)
{
    set_up();
    struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
    free_on_stream(0, &memory);
    synchronize(0);
    // Nothing has looked at the stream since, neither another free nor statistics.
    memory = alloc_now(POOL_BYTE_SIZE);
    CHECK(is_on_gpu(&memory), "memory that no stream uses can be allocated");
    free_now(&memory);
    tear_down();
}

static void blocks_are_freed_only_once(void)
{
    set_up();
    struct memory_allocation memory = alloc_now(1000);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &memory);
    CHECK(try_free_on_stream(0, &memory) == MEMORY_INVALID_ARG, "freed again on its stream");
    CHECK(try_free_on_stream(1, &memory) == MEMORY_INVALID_ARG, "freed again on another stream");
    CHECK(try_free(&memory) == MEMORY_INVALID_ARG, "freed again without a stream");
    CHECK(cuda_memory_free(memory.address, 0) == MEMORY_INVALID_ARG,
          "freed again through its address");
    release_and_synchronize(0);
    expect_used(0);
    CHECK(try_free_on_stream(0, &memory) == MEMORY_INVALID_ARG,
          "freed again when it is not pending any more");
    tear_down();
}

static void host_memory_can_be_pending_too(void)
{
    set_up();
    struct memory_allocation pinned, nonpinned;
    CHECK(owned_memory_alloc(&pinned, POOL_BYTE_SIZE, MEMORY_CPU, 0, memory_owner()) == MEMORY_OK,
          "%s", memory_message());
    CHECK(owned_memory_alloc(&nonpinned, 100, MEMORY_CPU, 0, memory_owner()) >= MEMORY_OK, "%s",
          memory_message());
    CHECK(memory_type_of(&nonpinned) == MEMORY_CPU, "the pinned pool is full");
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &pinned);
    free_on_stream(0, &nonpinned);
    CHECK(try_free(&pinned) == MEMORY_INVALID_ARG, "pinned memory is freed twice");
    CHECK(try_free(&nonpinned) == MEMORY_INVALID_ARG, "non-pinned memory is freed twice");
    struct memory_pool_stats stats;
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == POOL_BYTE_SIZE,
          "the stream still uses it");
    // A sanitizer would report a write to memory that is back on the heap.
    memset((void *)(uintptr_t)nonpinned.address, 1, 100);
    release_and_synchronize(0);
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == 0,
          "the stream is done");
    tear_down();
}

static void memory_of_an_earlier_generation_is_gone_already(void)
{
    set_up();
    struct memory_allocation memory = alloc_now(1000);
    struct memory_allocation host;
    CHECK(owned_memory_alloc(&host, 1000, MEMORY_CPU, 0, memory_owner()) == MEMORY_OK, "%s",
          memory_message());
    tear_down();
    set_up();
    struct memory_allocation later = alloc_now(1000);
    CHECK(later.address == memory.address, "the same address in a later generation");
    free_on_stream(0, &memory);
    free_on_stream(0, &host);
    free_now(&later);
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("pending memory is free when its stream is done",
               pending_memory_is_free_when_its_stream_is_done);
    check_case("a full pool takes back what no stream uses",
               a_full_pool_takes_back_what_no_stream_uses);
    check_case("blocks are freed only once", blocks_are_freed_only_once);
    check_case("host memory can be pending too", host_memory_can_be_pending_too);
    check_case("memory of an earlier generation is gone already",
               memory_of_an_earlier_generation_is_gone_already);
    return check_report();
}
