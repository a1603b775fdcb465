#include "stream_fixture.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "check.h"
#include "owned_memory.h"
#include "simulated_cuda.h"

struct cuda_stream streams[STREAM_COUNT];
struct hold holds[STREAM_COUNT];

void stream_fixture_bind(void)
{
    // The devices are small because ThreadSanitizer cannot map large ones.
    simulated_cuda_bind("9.0:1048576,8.0:1048576");
}

void set_up(void)
{
    enum memory_status status = cuda_memory_create(
        (const double[]){0, 1}, (const double[]){POOL_BYTE_SIZE, POOL_BYTE_SIZE}, DEVICE_COUNT, 0);
    CHECK(status == MEMORY_OK, "cuda_memory_create: %s", memory_message());
    CHECK(pinned_memory_create(POOL_BYTE_SIZE, 0, INFINITY) == MEMORY_OK, "%s", memory_message());
    for (int i = 0; i < STREAM_COUNT; i++) {
        status = cuda_stream_create(&streams[i], i == STREAM_COUNT - 1 ? 1 : 0);
        CHECK(status == MEMORY_OK, "cuda_stream_create: %s", memory_message());
    }
}

void synchronize(int stream)
{
    CHECK(cuda_stream_synchronize(&streams[stream]) == MEMORY_OK, "%s", memory_message());
}

void release_and_synchronize(int stream)
{
    release_stream(&holds[stream]);
    synchronize(stream);
}

void reset_managers(void)
{
    CHECK(cuda_memory_reset() == MEMORY_OK, "cuda_memory_reset: %s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "pinned_memory_reset: %s", memory_message());
}

void tear_down(void)
{
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_destroy(&streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    reset_managers();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

uint64_t event_query_count(void)
{
    return simulated_cuda_call_count("cudaEventQuery");
}

uint64_t stream_wait_count(void)
{
    return simulated_cuda_call_count("cudaStreamWaitEvent");
}

// ---- Allocating and freeing

struct memory_allocation alloc_on_stream(int stream, double byte_size)
{
    struct memory_allocation allocation;
    enum memory_status status =
        owned_memory_alloc_on_stream(&allocation, byte_size, MEMORY_GPU, 0,
                                     stream == NO_STREAM ? NULL : &streams[stream], memory_owner());
    CHECK(status >= MEMORY_OK, "allocated_memory_request: %d, %s", status, memory_message());
    return allocation;
}

struct memory_allocation alloc_now(double byte_size)
{
    return alloc_on_stream(NO_STREAM, byte_size);
}

bool is_on_gpu(const struct memory_allocation *allocation)
{
    return memory_type_of(allocation) == MEMORY_GPU;
}

enum memory_status try_free(const struct memory_allocation *allocation)
{
    return owned_memory_free(allocation, memory_owner());
}

void free_now(const struct memory_allocation *allocation)
{
    CHECK(try_free(allocation) == MEMORY_OK, "allocated_memory_free: %s", memory_message());
}

enum memory_status try_free_on_stream(int stream, const struct memory_allocation *allocation)
{
    return owned_memory_free_on_stream(allocation, &streams[stream], memory_owner());
}

void free_on_stream(int stream, const struct memory_allocation *allocation)
{
    CHECK(try_free_on_stream(stream, allocation) == MEMORY_OK,
          "allocated_memory_free_on_stream: %s", memory_message());
}

struct memory_allocation free_all_on_held_stream(void)
{
    struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
    hold_stream(&streams[0], &holds[0]);
    free_on_stream(0, &memory);
    return memory;
}

void expect_nothing_free(void)
{
    struct memory_allocation allocation = alloc_now(1);
    CHECK(!is_on_gpu(&allocation), "a block was allocated that a stream still uses");
    free_now(&allocation);
}

struct memory_pool_stats gpu_stats(void)
{
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "cuda_memory_stats: %s", memory_message());
    return stats;
}

void expect_used(double byte_size)
{
    struct memory_pool_stats stats = gpu_stats();
    CHECK(stats.used_byte_size == byte_size, "%.0f bytes are used, must be %.0f",
          stats.used_byte_size, byte_size);
}

static int compare_addresses(const void *a, const void *b)
{
    double difference = ((const struct memory_allocation *)a)->address -
                        ((const struct memory_allocation *)b)->address;
    return difference < 0 ? -1 : difference > 0;
}

void alloc_all(struct memory_allocation blocks[BLOCK_COUNT])
{
    for (int i = 0; i < BLOCK_COUNT; i++) {
        blocks[i] = alloc_now(BLOCK_BYTE_SIZE);
        CHECK(is_on_gpu(&blocks[i]), "an empty pool serves %d blocks", BLOCK_COUNT);
    }
    qsort(blocks, BLOCK_COUNT, sizeof *blocks, compare_addresses);
}
