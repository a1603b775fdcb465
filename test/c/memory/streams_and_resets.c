// Streams are destroyed and managers are reset while work is under way and memory is pending.

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "simulated_cuda.h"
#include "stream_fixture.h"
#include "threads.h"

static void work_of_a_destroyed_stream_goes_on(void)
{
    set_up();
    struct memory_allocation memory = free_all_on_held_stream();
    CHECK(cuda_stream_destroy(&streams[0]) == MEMORY_OK, "%s", memory_message());
    expect_nothing_free();
    struct memory_allocation reused = alloc_on_stream(1, POOL_BYTE_SIZE);
    CHECK(reused.address == memory.address,
          "another stream that reuses it can wait for the destroyed one");
    free_on_stream(1, &reused);
    CHECK(cuda_stream_create(&streams[0], 0) == MEMORY_OK, "%s", memory_message());
    release_stream(&holds[0]);
    synchronize(1);
    expect_used(0);
    tear_down();
}

static atomic_bool is_released;

static void *release_at_device_synchronize(void *argument)
{
    uint64_t before = *(const uint64_t *)argument;
    while (simulated_cuda_call_count("cudaDeviceSynchronize") == before) sleep_microseconds(100);
    sleep_microseconds(1000);
    is_released = true;
    for (int i = 0; i < STREAM_COUNT; i++) release_stream(&holds[i]);
    return NULL;
}

// The memory is pending, reused and live, and copies of all three are under way.
static void a_reset_waits_for_all_work_under_way(void)
{
    set_up();
    struct memory_allocation host, blocks[BLOCK_COUNT];
    CHECK(owned_memory_alloc(&host, BLOCK_BYTE_SIZE, MEMORY_CPU, 0, memory_owner()) == MEMORY_OK,
          "%s", memory_message());
    alloc_all(blocks);
    for (int i = 0; i < STREAM_COUNT; i++) {
        hold_stream(&streams[i], &holds[i]);
        for (int j = 2 * i; j < 2 * i + 2; j++) {
            enum memory_status status =
                allocated_memory_copy(&blocks[j], 0, &host, 0, BLOCK_BYTE_SIZE, &streams[i]);
            CHECK(status == MEMORY_QUEUED, "allocated_memory_copy: %d, %s", status,
                  memory_message());
        }
    }
    for (int i = 0; i < 5; i++) free_on_stream(i / 2, &blocks[i]);
    free_on_stream(0, &host);
    (void)alloc_on_stream(1, BLOCK_BYTE_SIZE);
    is_released = false;
    uint64_t before = simulated_cuda_call_count("cudaDeviceSynchronize");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release_at_device_synchronize, &before) == 0, "no thread");
    reset_managers();
    CHECK(is_released, "a reset took memory away that streams still used");
    pthread_join(thread, NULL);
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_UNAVAILABLE, "the pool is gone");
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("work of a destroyed stream goes on", work_of_a_destroyed_stream_goes_on);
    check_case("a reset waits for all work under way", a_reset_waits_for_all_work_under_way);
    return check_report();
}
