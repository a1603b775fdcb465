// Memory that is freed with a stream: who gets it again, when, and what is waited for. Streams are
// held where a case needs to know what is done and what is not.

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cudart_sim.h"
#include "held_stream.h"
#include "simulated_cuda.h"
#include "threads.h"

enum {
    DEVICE_COUNT = 2,
    BLOCK_BYTE_SIZE = 4096,
    BLOCK_COUNT = 8, // of the pool of GPU 0, and of the pinned pool
    STREAM_COUNT = 3,
};

static const double POOL_BYTE_SIZE = BLOCK_BYTE_SIZE * BLOCK_COUNT;

// The last is of GPU 1: memory goes to and fro between the streams of both.
static struct cuda_stream streams[STREAM_COUNT];
static struct hold holds[STREAM_COUNT];

static void create(void)
{
    enum memory_status status = cuda_memory_create(
        (const double[]){0, 1}, (const double[]){POOL_BYTE_SIZE, POOL_BYTE_SIZE}, DEVICE_COUNT);
    CHECK(status == MEMORY_OK, "cuda_memory_create: %s", memory_message());
    CHECK(pinned_memory_create(POOL_BYTE_SIZE) == MEMORY_OK, "%s", memory_message());
    for (int i = 0; i < STREAM_COUNT; i++) {
        status = cuda_stream_create(&streams[i], i == STREAM_COUNT - 1 ? 1 : 0);
        CHECK(status == MEMORY_OK, "cuda_stream_create: %s", memory_message());
    }
}

static void synchronize(int stream)
{
    CHECK(cuda_stream_synchronize(&streams[stream]) == MEMORY_OK, "%s", memory_message());
}

static void release(int stream)
{
    release_stream(&holds[stream]);
    synchronize(stream);
}

static void reset(void)
{
    CHECK(cuda_memory_reset() == MEMORY_OK, "cuda_memory_reset: %s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "pinned_memory_reset: %s", memory_message());
}

static void destroy(void)
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_destroy(&streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

static uint64_t call_count(const char *function)
{
    uint64_t count;
    int error = cudartSimGetCallCount(function, &count);
    CHECK(error == 0, "cudartSimGetCallCount of %s: error %d", function, error);
    return count;
}

// ---- Requests

// For a stream, or -1 for none.
static struct memory_allocation take_for(int stream, double byte_size, bool may_wait)
{
    struct memory_allocation allocation;
    enum memory_status status = allocated_memory_alloc_on_stream(
        &allocation, byte_size, MEMORY_GPU, 0, stream < 0 ? NULL : &streams[stream], may_wait);
    CHECK(status >= MEMORY_OK, "allocated_memory_alloc_on_stream: %d, %s", status,
          memory_message());
    return allocation;
}

// What is there without waiting for anything; otherwise host memory.
static struct memory_allocation take_now(double byte_size)
{
    return take_for(-1, byte_size, false);
}

static bool is_on_gpu(const struct memory_allocation *allocation)
{
    return allocation->memory_type == MEMORY_GPU;
}

static int32_t try_to_give(const struct memory_allocation *allocation)
{
    return allocated_memory_free(allocation->address, allocation->memory_type,
                                 allocation->device_id, allocation->generation);
}

static void give(const struct memory_allocation *allocation)
{
    CHECK(try_to_give(allocation) == MEMORY_OK, "allocated_memory_free: %s", memory_message());
}

static int32_t try_to_give_after(int stream, const struct memory_allocation *allocation)
{
    return allocated_memory_free_on_stream(allocation, &streams[stream]);
}

static void give_after(int stream, const struct memory_allocation *allocation)
{
    CHECK(try_to_give_after(stream, allocation) == MEMORY_OK, "allocated_memory_free_on_stream: %s",
          memory_message());
}

// The whole pool, freed with stream 0, which is held: where it was.
static struct memory_allocation give_all_after_held_stream(void)
{
    struct memory_allocation memory = take_now(POOL_BYTE_SIZE);
    hold_stream(&streams[0], &holds[0]);
    give_after(0, &memory);
    return memory;
}

static void expect_nothing_to_be_had(void)
{
    struct memory_allocation allocation = take_now(1);
    CHECK(!is_on_gpu(&allocation), "a block was given out that a stream still uses");
    give(&allocation);
}

static struct memory_pool_stats stats_of_gpu(void)
{
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "cuda_memory_stats: %s", memory_message());
    return stats;
}

static void expect_used(double byte_size)
{
    struct memory_pool_stats stats = stats_of_gpu();
    CHECK(stats.used_byte_size == byte_size, "%.0f bytes are used, must be %.0f",
          stats.used_byte_size, byte_size);
}

static int compare_addresses(const void *a, const void *b)
{
    double difference = ((const struct memory_allocation *)a)->address -
                        ((const struct memory_allocation *)b)->address;
    return difference < 0 ? -1 : difference > 0;
}

// The whole pool, in address order.
static void take_all(struct memory_allocation blocks[BLOCK_COUNT])
{
    for (int i = 0; i < BLOCK_COUNT; i++) {
        blocks[i] = take_now(BLOCK_BYTE_SIZE);
        CHECK(is_on_gpu(&blocks[i]), "an empty pool serves %d blocks", BLOCK_COUNT);
    }
    qsort(blocks, BLOCK_COUNT, sizeof *blocks, compare_addresses);
}

// ---- Requests that wait

// Releases one stream for each time that the library waits for an event, in this order. If that does
// not let it go on, it waits for another than it should; then all are released, and the case fails.
struct releaser {
    const int *order;
    int count;
    uint64_t waited_before;
    atomic_bool is_served;
    bool has_waited_for_others;
};

static bool waits_again(struct releaser *releaser, int already)
{
    for (int i = 0; i < 50 * 1000 && !releaser->is_served; i++) {
        uint64_t wait_count = call_count("cudaEventSynchronize") - releaser->waited_before;
        if (wait_count > (uint64_t)already) return true;
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

static struct memory_allocation take_after_release(double byte_size, const int *order, int count)
{
    struct releaser releaser = {
        .order = order, .count = count, .waited_before = call_count("cudaEventSynchronize")};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release_in_order, &releaser) == 0, "no thread");
    struct memory_allocation allocation = take_for(-1, byte_size, true);
    releaser.is_served = true;
    pthread_join(thread, NULL);
    CHECK(!releaser.has_waited_for_others, "it waited for more than it had to");
    CHECK(call_count("cudaEventSynchronize") - releaser.waited_before == (uint64_t)count,
          "it waited more or less often than %d times", count);
    CHECK(is_on_gpu(&allocation), "waiting was for nothing");
    return allocation;
}

// ---- Freeing

static void memory_comes_back_when_its_stream_is_done(void)
{
    create();
    struct memory_allocation memory = give_all_after_held_stream();
    expect_used(POOL_BYTE_SIZE);
    expect_nothing_to_be_had();
    release(0);
    expect_used(0);
    memory = take_now(POOL_BYTE_SIZE);
    CHECK(is_on_gpu(&memory), "all of the pool is there again");
    give(&memory);
    destroy();
}

static void a_full_pool_takes_back_what_is_done(void)
{
    create();
    struct memory_allocation memory = take_now(POOL_BYTE_SIZE);
    give_after(0, &memory);
    synchronize(0);
    memory = take_now(POOL_BYTE_SIZE); // nobody has read statistics
    CHECK(is_on_gpu(&memory), "what is done can be had");
    give(&memory);
    destroy();
}

static void blocks_are_freed_only_once(void)
{
    create();
    struct memory_allocation memory = take_now(1000);
    hold_stream(&streams[0], &holds[0]);
    give_after(0, &memory);
    CHECK(try_to_give_after(0, &memory) == MEMORY_INVALID_ARG, "freed again with its stream");
    CHECK(try_to_give_after(1, &memory) == MEMORY_INVALID_ARG, "freed again with another");
    CHECK(try_to_give(&memory) == MEMORY_INVALID_ARG, "freed again without");
    CHECK(cuda_memory_free(memory.address, 0) == MEMORY_INVALID_ARG, "freed through its address");
    release(0);
    expect_used(0);
    CHECK(try_to_give_after(0, &memory) == MEMORY_INVALID_ARG, "freed again when it is free");
    destroy();
}

static void host_memory_comes_back_too(void)
{
    create();
    struct memory_allocation pinned, nonpinned;
    CHECK(pinned_memory_alloc(&pinned, POOL_BYTE_SIZE, 1) == MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_alloc(&nonpinned, 100, 1) >= MEMORY_OK, "%s", memory_message());
    CHECK(nonpinned.memory_type == MEMORY_CPU, "the pinned pool is full");
    hold_stream(&streams[0], &holds[0]);
    give_after(0, &pinned);
    give_after(0, &nonpinned);
    CHECK(try_to_give(&pinned) == MEMORY_INVALID_ARG, "pinned memory is freed twice");
    CHECK(try_to_give(&nonpinned) == MEMORY_INVALID_ARG, "non-pinned memory is freed twice");
    struct memory_pool_stats stats;
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == POOL_BYTE_SIZE,
          "the stream still uses it");
    memset((void *)(uintptr_t)nonpinned.address, 1, 100); // which a sanitizer looks at
    release(0);
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.used_byte_size == 0,
          "the stream is done");
    destroy();
}

static void memory_of_an_earlier_life_is_gone_already(void)
{
    create();
    struct memory_allocation memory = take_now(1000);
    struct memory_allocation host;
    CHECK(pinned_memory_alloc(&host, 1000, 0) == MEMORY_OK, "%s", memory_message());
    destroy();
    create();
    struct memory_allocation later = take_now(1000);
    CHECK(later.address == memory.address, "the same place in a later life");
    give_after(0, &memory);
    give_after(0, &host);
    give(&later);
    destroy();
}

// ---- Requests that need not wait

static void a_stream_has_its_own_memory_again_at_once(void)
{
    create();
    uint64_t wait_count = call_count("cudaEventSynchronize");
    uint64_t stream_wait_count = call_count("cudaStreamWaitEvent");
    struct memory_allocation first = take_now(1500), other = take_now(1500);
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < 10; i++) {
        give_after(0, &first);
        struct memory_allocation again = take_for(0, 1500, false);
        CHECK(again.address == first.address, "a block of the size that was freed before");
        CHECK(again.byte_size == 1500 && again.generation == first.generation, "its allocation");
        struct memory_allocation more = take_for(0, 1500, false);
        CHECK(more.address != first.address, "a block has two owners");
        give(&more);
        first = again;
    }
    give_after(0, &first);
    give_after(0, &other);
    struct memory_allocation rest = take_now(POOL_BYTE_SIZE - 2 * 1536);
    CHECK(is_on_gpu(&rest), "the rest of the pool is free");
    struct memory_allocation small = take_for(0, 512, false);
    CHECK(is_on_gpu(&small), "where the pool is full, a larger block will do");
    CHECK(call_count("cudaEventSynchronize") == wait_count, "the host did not wait");
    CHECK(call_count("cudaStreamWaitEvent") == stream_wait_count, "no stream waited");
    give_after(0, &small);
    give(&rest);
    release(0);
    expect_used(0);
    destroy();
}

static void another_stream_is_made_to_wait(void)
{
    create();
    struct memory_allocation memory = give_all_after_held_stream();
    for (int stream = 1; stream < STREAM_COUNT; stream++) {
        struct memory_allocation refused = take_for(stream, POOL_BYTE_SIZE, false);
        CHECK(!is_on_gpu(&refused), "a request that may not wait makes no stream wait either");
        give(&refused);
        struct memory_allocation handed_on = take_for(stream, 700, true);
        CHECK(handed_on.address == memory.address, "the block is handed on");
        CHECK(cuda_stream_query(&streams[stream]) == MEMORY_NOT_DONE,
              "and the stream waits for the other");
        give_after(stream, &handed_on);
    }
    release(0);
    for (int stream = 1; stream < STREAM_COUNT; stream++) synchronize(stream);
    expect_used(0);
    destroy();
}

static void what_is_done_is_taken_before_a_stream_is_made_to_wait(void)
{
    create();
    uint64_t stream_wait_count = call_count("cudaStreamWaitEvent");
    struct memory_allocation blocks[BLOCK_COUNT];
    take_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    give_after(0, &blocks[0]);
    give_after(1, &blocks[5]);
    synchronize(1);
    struct memory_allocation memory = take_for(2, BLOCK_BYTE_SIZE, true);
    CHECK(memory.address == blocks[5].address, "a block that nothing uses");
    CHECK(call_count("cudaStreamWaitEvent") == stream_wait_count, "no stream waits");
    release(0);
    destroy();
}

static void host_memory_is_not_handed_on(void)
{
    create();
    struct memory_allocation pinned, other;
    CHECK(pinned_memory_alloc(&pinned, POOL_BYTE_SIZE, 0) == MEMORY_OK, "%s", memory_message());
    hold_stream(&streams[0], &holds[0]);
    give_after(0, &pinned);
    CHECK(allocated_memory_alloc_on_stream(&other, POOL_BYTE_SIZE, MEMORY_CPU_PINNED, 0,
                                           &streams[0], false) >= MEMORY_OK,
          "%s", memory_message());
    CHECK(other.memory_type == MEMORY_CPU, "what the host does with it is in no stream's order");
    give(&other);
    release(0);
    destroy();
}

// ---- Memory that was handed on is nobody else's before

// All of the pool, which stream 0 still uses, in the hands of that stream or another.
static struct memory_allocation take_lent(int stream)
{
    struct memory_allocation memory = give_all_after_held_stream();
    struct memory_allocation lent = take_for(stream, POOL_BYTE_SIZE, true);
    CHECK(lent.address == memory.address, "the block is handed on");
    return lent;
}

static void expect_still_used(const struct memory_allocation *freed)
{
    expect_nothing_to_be_had();
    CHECK(try_to_give(freed) == MEMORY_INVALID_ARG, "it is freed only once");
    release(0);
    for (int i = 0; i < STREAM_COUNT; i++) synchronize(i);
    expect_used(0);
}

static void lent_memory_that_is_freed_waits_on(void)
{
    for (int stream = 0; stream < STREAM_COUNT; stream++) {
        create();
        struct memory_allocation lent = take_lent(stream);
        give(&lent);
        expect_still_used(&lent);
        destroy();
    }
}

static void lent_memory_that_is_freed_through_its_address_waits_on(void)
{
    create();
    struct memory_allocation lent = take_lent(0);
    CHECK(cuda_memory_free(lent.address, 0) == MEMORY_OK, "%s", memory_message());
    expect_still_used(&lent);
    destroy();
}

static void lent_memory_that_is_freed_with_a_third_stream_waits_for_all(void)
{
    create();
    struct memory_allocation lent = take_lent(1);
    give_after(2, &lent);
    sleep_microseconds(10 * 1000); // the third stream would be done by then
    expect_still_used(&lent);
    destroy();
}

static void lent_memory_is_lent_again(void)
{
    create();
    struct memory_allocation lent = take_lent(0);
    for (int i = 0; i < 12; i++) {
        if (i % 3 == 0) give(&lent);
        else give_after(i % STREAM_COUNT, &lent);
        struct memory_allocation next = take_for(i / 2 % STREAM_COUNT, POOL_BYTE_SIZE, true);
        CHECK(next.address == lent.address, "it is there for every stream");
        lent = next;
    }
    give(&lent);
    expect_still_used(&lent);
    destroy();
}

static void a_loan_ends_when_the_stream_is_done(void)
{
    create();
    struct memory_allocation lent = take_lent(1);
    release(0);
    expect_used(POOL_BYTE_SIZE); // which looks whether it is done
    give(&lent);
    lent = take_now(POOL_BYTE_SIZE);
    CHECK(is_on_gpu(&lent), "it was freed at once");
    give(&lent);
    destroy();
}

static void a_stream_with_lent_memory_keeps_its_order(void)
{
    create();
    struct memory_allocation blocks[BLOCK_COUNT];
    take_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    give_after(0, &blocks[2]);
    struct memory_allocation lent = take_for(0, BLOCK_BYTE_SIZE, true);
    give_after(0, &blocks[6]);
    give(&lent); // waits on where it was: it is still the first
    struct memory_allocation memory = take_after_release(BLOCK_BYTE_SIZE, (const int[]){0}, 1);
    CHECK(memory.address == blocks[2].address || memory.address == blocks[6].address,
          "one of the two");
    destroy();
}

// ---- Requests that wait

static void it_waits_for_what_was_freed_first(void)
{
    create();
    struct memory_allocation blocks[BLOCK_COUNT];
    take_all(blocks);
    for (int i = 0; i < STREAM_COUNT; i++) hold_stream(&streams[i], &holds[i]);
    give_after(1, &blocks[3]);
    give_after(0, &blocks[5]);
    give_after(2, &blocks[7]);
    struct memory_allocation memory = take_after_release(BLOCK_BYTE_SIZE, (const int[]){1}, 1);
    CHECK(memory.address == blocks[3].address, "the block that was freed first");
    struct memory_pool_stats stats = stats_of_gpu();
    CHECK(stats.failed_allocation_count == 0, "a request that is served was never refused");
    release(0);
    release(2);
    destroy();
}

static void it_waits_only_for_what_helps(void)
{
    create();
    struct memory_allocation blocks[BLOCK_COUNT];
    take_all(blocks);
    for (int i = 0; i < STREAM_COUNT; i++) hold_stream(&streams[i], &holds[i]);
    give_after(0, &blocks[0]); // alone
    give_after(1, &blocks[4]);
    give_after(2, &blocks[5]); // with the one before it, two in one piece
    give_after(0, &blocks[1]); // too late
    struct memory_allocation memory =
        take_after_release(2 * BLOCK_BYTE_SIZE, (const int[]){2, 1}, 2);
    CHECK(memory.address == blocks[4].address, "the pair that was complete first");
    release(0);
    destroy();
}

static void free_blocks_count_as_help(void)
{
    create();
    struct memory_allocation blocks[BLOCK_COUNT];
    take_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    hold_stream(&streams[1], &holds[1]);
    give_after(0, &blocks[0]);
    give_after(1, &blocks[5]);
    give(&blocks[4]);
    give(&blocks[6]);
    struct memory_allocation memory = take_after_release(3 * BLOCK_BYTE_SIZE, (const int[]){1}, 1);
    CHECK(memory.address == blocks[4].address, "the block between two free ones");
    release(0);
    destroy();
}

static void where_nothing_helps_it_does_not_wait(void)
{
    create();
    struct memory_allocation blocks[BLOCK_COUNT];
    take_all(blocks);
    hold_stream(&streams[0], &holds[0]);
    for (int i = 0; i < BLOCK_COUNT; i++) {
        if (i != BLOCK_COUNT / 2) give_after(0, &blocks[i]);
    }
    uint64_t wait_count = call_count("cudaEventSynchronize");
    uint64_t stream_wait_count = call_count("cudaStreamWaitEvent");
    for (int stream = -1; stream < STREAM_COUNT; stream++) {
        struct memory_allocation memory = take_for(stream, POOL_BYTE_SIZE / 2 + 1, true);
        CHECK(!is_on_gpu(&memory), "one live block is in the way");
        give(&memory);
    }
    CHECK(stats_of_gpu().failed_allocation_count == STREAM_COUNT + 1, "each is counted once");
    CHECK(call_count("cudaEventSynchronize") == wait_count, "the host did not wait");
    CHECK(call_count("cudaStreamWaitEvent") == stream_wait_count, "no stream waited");
    release(0);
    expect_used(BLOCK_BYTE_SIZE);
    destroy();
}

static void a_request_that_may_not_wait_falls_back(void)
{
    create();
    give_all_after_held_stream();
    uint64_t wait_count = call_count("cudaEventSynchronize");
    expect_nothing_to_be_had();
    struct memory_allocation pinned;
    CHECK(pinned_memory_try_alloc(&pinned, POOL_BYTE_SIZE) == MEMORY_OK, "no room");
    give_after(0, &pinned);
    CHECK(pinned_memory_try_alloc(&pinned, 1) == MEMORY_UNAVAILABLE, "the pinned pool is in use");
    CHECK(call_count("cudaEventSynchronize") == wait_count, "the host did not wait");
    release(0);
    destroy();
}

// ---- The ends of streams and managers

static void a_destroyed_stream_goes_on(void)
{
    create();
    struct memory_allocation memory = give_all_after_held_stream();
    CHECK(cuda_stream_destroy(&streams[0]) == MEMORY_OK, "%s", memory_message());
    expect_nothing_to_be_had();
    struct memory_allocation handed_on = take_for(1, POOL_BYTE_SIZE, true);
    CHECK(handed_on.address == memory.address, "another stream can wait for it");
    give_after(1, &handed_on);
    CHECK(cuda_stream_create(&streams[0], 0) == MEMORY_OK, "%s", memory_message());
    release_stream(&holds[0]);
    synchronize(1);
    expect_used(0);
    destroy();
}

static atomic_bool is_released;

static void *release_at_device_synchronize(void *argument)
{
    uint64_t before = *(const uint64_t *)argument;
    while (call_count("cudaDeviceSynchronize") == before) sleep_microseconds(100);
    sleep_microseconds(1000);
    is_released = true;
    for (int i = 0; i < STREAM_COUNT; i++) release_stream(&holds[i]);
    return NULL;
}

// With memory that waits, is lent and is live, and copies of all of them under way.
static void a_reset_waits_for_what_is_under_way(void)
{
    create();
    struct memory_allocation host, blocks[BLOCK_COUNT];
    CHECK(pinned_memory_alloc(&host, BLOCK_BYTE_SIZE, 0) == MEMORY_OK, "%s", memory_message());
    take_all(blocks);
    for (int i = 0; i < STREAM_COUNT; i++) {
        hold_stream(&streams[i], &holds[i]);
        for (int j = 2 * i; j < 2 * i + 2; j++) {
            enum memory_status status =
                allocated_memory_copy(&blocks[j], 0, &host, 0, BLOCK_BYTE_SIZE, &streams[i]);
            CHECK(status == MEMORY_QUEUED, "allocated_memory_copy: %d, %s", status,
                  memory_message());
        }
    }
    for (int i = 0; i < 5; i++) give_after(i / 2, &blocks[i]);
    give_after(0, &host);
    (void)take_for(1, BLOCK_BYTE_SIZE, true);
    is_released = false;
    uint64_t before = call_count("cudaDeviceSynchronize");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release_at_device_synchronize, &before) == 0, "no thread");
    reset();
    CHECK(is_released, "a reset took memory away that streams still used");
    pthread_join(thread, NULL);
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_UNAVAILABLE, "the pool is gone");
    destroy();
}

int main(void)
{
    // Small: a race detector cannot map what is large.
    simulated_cuda_bind("9.0:1048576,8.0:1048576");
    check_case("memory comes back when its stream is done",
               memory_comes_back_when_its_stream_is_done);
    check_case("a full pool takes back what is done", a_full_pool_takes_back_what_is_done);
    check_case("blocks are freed only once", blocks_are_freed_only_once);
    check_case("host memory comes back too", host_memory_comes_back_too);
    check_case("memory of an earlier life is gone already",
               memory_of_an_earlier_life_is_gone_already);
    check_case("a stream has its own memory again at once",
               a_stream_has_its_own_memory_again_at_once);
    check_case("another stream is made to wait", another_stream_is_made_to_wait);
    check_case("what is done is taken before a stream is made to wait",
               what_is_done_is_taken_before_a_stream_is_made_to_wait);
    check_case("host memory is not handed on", host_memory_is_not_handed_on);
    check_case("lent memory that is freed waits on", lent_memory_that_is_freed_waits_on);
    check_case("lent memory that is freed through its address waits on",
               lent_memory_that_is_freed_through_its_address_waits_on);
    check_case("lent memory that is freed with a third stream waits for all",
               lent_memory_that_is_freed_with_a_third_stream_waits_for_all);
    check_case("lent memory is lent again", lent_memory_is_lent_again);
    check_case("a loan ends when the stream is done", a_loan_ends_when_the_stream_is_done);
    check_case("a stream with lent memory keeps its order",
               a_stream_with_lent_memory_keeps_its_order);
    check_case("it waits for what was freed first", it_waits_for_what_was_freed_first);
    check_case("it waits only for what helps", it_waits_only_for_what_helps);
    check_case("free blocks count as help", free_blocks_count_as_help);
    check_case("where nothing helps it does not wait", where_nothing_helps_it_does_not_wait);
    check_case("a request that may not wait falls back", a_request_that_may_not_wait_falls_back);
    check_case("a destroyed stream goes on", a_destroyed_stream_goes_on);
    check_case("a reset waits for what is under way", a_reset_waits_for_what_is_under_way);
    return check_report();
}
