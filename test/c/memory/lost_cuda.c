// What is left of the library once CUDA has failed for good, which nothing in the process heals.

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cudart_sim.h"
#include "owned_memory.h"
#include "simulated_cuda.h"
#include "stream_fixture.h"

enum { ILLEGAL_ADDRESS = 700 };

static struct memory_allocation alloc(double byte_size, double memory_type)
{
    struct memory_allocation memory;
    enum memory_status status =
        owned_memory_alloc(&memory, byte_size, memory_type, 0, memory_owner());
    CHECK(status >= MEMORY_OK, "%d, %s", status, memory_message());
    return memory;
}

static enum memory_status free_owned(const struct memory_allocation *memory)
{
    return owned_memory_free(memory, memory_owner());
}

static uint64_t cuda_call_count(void)
{
    static const char *const functions[] = {
        "cudaGetDevice",    "cudaSetDevice",     "cudaMalloc",
        "cudaFree",         "cudaHostAlloc",     "cudaFreeHost",
        "cudaMemcpy",       "cudaMemcpyAsync",   "cudaMemset",
        "cudaStreamQuery",  "cudaEventQuery",    "cudaEventRecord",
        "cudaEventDestroy", "cudaStreamDestroy", "cudaDeviceSynchronize",
        "cudaGetLastError",
    };
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        count += simulated_cuda_call_count(functions[i]);
    }
    return count;
}

static void everything_else_goes_on(void)
{
    set_up();
    struct memory_allocation on_gpu = alloc(BLOCK_BYTE_SIZE, MEMORY_GPU);
    struct memory_allocation pending = alloc(BLOCK_BYTE_SIZE, MEMORY_GPU);
    struct memory_allocation on_host = alloc(BLOCK_BYTE_SIZE, MEMORY_CPU_PINNED);
    CHECK(cuda_check_lost() == MEMORY_OK, "CUDA works at first");
    CHECK(cuda_take_lost_report() == MEMORY_NOT_DONE, "there is nothing to report");
    hold_stream(&streams[0], &holds[0]);
    CHECK(owned_memory_free_on_stream(&pending, &streams[0], memory_owner()) == MEMORY_OK, "%s",
          memory_message());
    cudartSimFailCall("cudaMemset", 1, ILLEGAL_ADDRESS);
    CHECK(allocated_memory_fill(&on_gpu, 7) == MEMORY_DEVICE_LOST, "the finder is told");
    CHECK(strstr(memory_message(), "cudaErrorIllegalAddress") != NULL, "%s", memory_message());
    struct memory_failure failure;
    memory_last_failure(&failure);
    CHECK(failure.cuda_error == ILLEGAL_ADDRESS, "the error has CUDA's number");
    CHECK(cuda_take_lost_report() == MEMORY_OK, "it is reported");
    CHECK(cuda_take_lost_report() == MEMORY_NOT_DONE, "it is reported once");

    uint64_t count = cuda_call_count();
    CHECK(cuda_check_lost() == MEMORY_DEVICE_LOST, "CUDA is lost");
    CHECK(allocated_memory_fill(&on_gpu, 7) == MEMORY_DEVICE_LOST, "%s", memory_message());
    char bytes[8];
    CHECK(allocated_memory_read(&on_gpu, 0, bytes, 8, NULL) == MEMORY_DEVICE_LOST, "read");
    CHECK(allocated_memory_write(&on_gpu, 0, bytes, 8, &streams[0]) == MEMORY_DEVICE_LOST, "write");
    CHECK(allocated_memory_copy(&on_host, 0, &on_gpu, 0, 8, NULL) == MEMORY_DEVICE_LOST, "copy");
    CHECK(allocated_memory_write(&on_host, 0, bytes, 8, NULL) == MEMORY_OK, "host memory works");
    CHECK(cuda_stream_query(&streams[0]) == MEMORY_DEVICE_LOST, "a stream");
    CHECK(cuda_stream_synchronize(&streams[1]) == MEMORY_DEVICE_LOST, "another stream");
    CHECK(cuda_event_record(&streams[0]) == MEMORY_DEVICE_LOST, "an event");
    struct cuda_stream stream;
    CHECK(cuda_stream_create(&stream, 0) == MEMORY_DEVICE_LOST, "a new stream");
    CHECK(cuda_stream_acquire(&stream, 0) == MEMORY_DEVICE_LOST, "a released stream");

    CHECK(cuda_memory_alloc(1, 0) == MEMORY_DEVICE_LOST, "nobody gets GPU memory");
    struct memory_allocation elsewhere = alloc(BLOCK_BYTE_SIZE, MEMORY_GPU);
    CHECK(memory_type_of(&elsewhere) == MEMORY_CPU_PINNED, "a request falls back");
    CHECK(free_owned(&elsewhere) == MEMORY_OK, "%s", memory_message());
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK && stats.allocation_count == 1,
          "what a stream was using has come back: %.0f", stats.allocation_count);
    CHECK(owned_memory_free_on_stream(&on_gpu, &streams[0], memory_owner()) == MEMORY_OK,
          "freeing succeeds");
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK && stats.allocation_count == 0, "at once");

    CHECK(cuda_stream_destroy(&streams[0]) == MEMORY_OK, "a stream can be destroyed");
    CHECK(cuda_memory_reset() == MEMORY_OK, "a reset succeeds");
    const double device_id = 0, byte_size = 4096;
    const struct cuda_memory_settings settings = {.goes_on = 1};
    CHECK(cuda_memory_create(&device_id, &byte_size, 1, 0) == MEMORY_DEVICE_LOST, "create");
    CHECK(cuda_memory_create(&device_id, &byte_size, 1, &settings) == MEMORY_DEVICE_LOST, "create");
    memset((void *)(uintptr_t)on_host.address, 1, BLOCK_BYTE_SIZE);
    CHECK(free_owned(&on_host) == MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "a reset succeeds");
    CHECK(pinned_memory_create(4096, 0, INFINITY) == MEMORY_OK_WITH_WARNINGS,
          "there is no pinned pool");
    struct memory_allocation nonpinned = alloc(BLOCK_BYTE_SIZE, MEMORY_CPU);
    CHECK(memory_type_of(&nonpinned) == MEMORY_CPU, "memory of the heap is left");
    CHECK(free_owned(&nonpinned) == MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "a reset succeeds");
    CHECK(cuda_call_count() == count, "CUDA was not called any more");
    release_stream(&holds[0]);
}

int main(void)
{
    stream_fixture_bind();
    check_case("everything else goes on", everything_else_goes_on);
    return check_report();
}
