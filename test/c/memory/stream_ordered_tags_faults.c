// Many blocks are pending at once, so that the table of their tags grows several times. The system
// refuses memory for each part of that in turn: the free fails, the block still lives, and the next
// try frees it. This is a program of its own because the table has to begin empty.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "failing_calls.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "simulated_cuda.h"

enum {
    BLOCK_BYTE_SIZE = 512,
    BLOCK_COUNT = 150, // 16 tags at first, doubled four times
    REUSED_COUNT = 50,
    STREAM_COUNT = 2,
};

static struct cuda_stream streams[STREAM_COUNT];
static struct memory_allocation blocks[BLOCK_COUNT];

static void set_up(void)
{
    double device_id = 0, byte_size = BLOCK_COUNT * BLOCK_BYTE_SIZE;
    CHECK(cuda_memory_create(&device_id, &byte_size, 1, 0) == MEMORY_OK, "%s", memory_message());
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_create(&streams[i], 0) == MEMORY_OK, "%s", memory_message());
    }
    for (int i = 0; i < BLOCK_COUNT; i++) {
        CHECK(owned_memory_alloc(&blocks[i], BLOCK_BYTE_SIZE, MEMORY_GPU, 0, memory_owner()) ==
                  MEMORY_OK,
              "%s", memory_message());
    }
}

static double used_byte_size(void)
{
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "%s", memory_message());
    return stats.used_byte_size;
}

static void tear_down(void)
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_destroy(&streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    CHECK(cuda_memory_reset() == MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
    simulated_cuda_expect_nothing_live(1);
}

static void free_all_on_stream(void)
{
    for (int i = 0; i < BLOCK_COUNT; i++) {
        if (owned_memory_free_on_stream(&blocks[i], &streams[0], memory_owner()) == MEMORY_OK)
            continue;
        CHECK(failed_call_count == 1, "it failed for nothing: %s", memory_message());
        CHECK(strlen(memory_message()) > 0, "a failure has a message");
        CHECK(used_byte_size() == BLOCK_COUNT * BLOCK_BYTE_SIZE, "the block still lives");
        CHECK(owned_memory_free_on_stream(&blocks[i], &streams[0], memory_owner()) == MEMORY_OK,
              "%s", memory_message());
    }
}

// Blocks are reused on both streams, and freed again in every way, or kept. Returns how many are kept.
static int reuse_some(struct memory_allocation kept[REUSED_COUNT])
{
    int kept_count = 0;
    for (int i = 0; i < REUSED_COUNT; i++) {
        struct memory_allocation reused;
        enum memory_status status = owned_memory_alloc_on_stream(
            &reused, BLOCK_BYTE_SIZE, MEMORY_GPU, 0, &streams[i % STREAM_COUNT], memory_owner());
        CHECK(status == MEMORY_OK && memory_type_of(&reused) == MEMORY_GPU,
              "a pending block serves");
        switch (i % 3) {
        case 0:
            status = owned_memory_free_on_stream(&reused, &streams[i / 2 % STREAM_COUNT],
                                                 memory_owner());
            break;
        case 1:
            status = cuda_memory_free(reused.address, 0);
            break;
        default:
            kept[kept_count++] = reused;
        }
        CHECK(status == MEMORY_OK, "%s", memory_message());
    }
    return kept_count;
}

static void free_kept(const struct memory_allocation *kept, int kept_count)
{
    CHECK(used_byte_size() == kept_count * BLOCK_BYTE_SIZE, "all others are free again");
    for (int i = 0; i < kept_count; i++) {
        CHECK(cuda_memory_free(kept[i].address, 0) == MEMORY_OK, "%s", memory_message());
    }
    CHECK(used_byte_size() == 0, "nothing is lost");
}

// Refuses the nth request for memory. Returns whether there was one.
static bool free_many_with_refusal(uint64_t nth)
{
    set_up();
    struct hold hold;
    hold_stream(&streams[0], &hold);
    failed_call_count = 0;
    fail_call(nth, false);
    free_all_on_stream();
    fail_call(0, false);
    CHECK(owned_memory_free_on_stream(&blocks[0], &streams[0], memory_owner()) ==
              MEMORY_INVALID_ARG,
          "what is pending is not freed again");
    struct memory_allocation kept[REUSED_COUNT];
    int kept_count = reuse_some(kept);
    release_stream(&hold);
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_synchronize(&streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    free_kept(kept, kept_count);
    tear_down();
    return failed_call_count > 0;
}

static void every_request_for_memory_fails(void)
{
    uint64_t nth = 1;
    while (free_many_with_refusal(nth)) nth++;
    CHECK(nth > BLOCK_COUNT, "only %d requests were refused", (int)nth);
}

int main(void)
{
    simulated_cuda_bind("9.0:1048576");
    check_case("many blocks are pending while every request for memory fails in turn",
               every_request_for_memory_fails);
    return check_report();
}
