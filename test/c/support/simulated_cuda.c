#include "simulated_cuda.h"

#include <inttypes.h>
#include <stdlib.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cuda/cudart.h"
#include "cudart_sim.h"
#include "harness/native/bind_cudart.h"

void simulated_cuda_bind(const char *devices)
{
    setenv("CUDART_SIM_DEVICES", devices, 1);
    unsetenv("CUDART_SIM_FAULTS");
    const char *missing = bind_cudart(RTLD_DEFAULT, cudart_bind); // the program is linked with it
    CHECK(missing == NULL, "the simulator has no %s", missing);
    CHECK(cudart_is_bound(), "the library has all that it needs of CUDA");
}

void simulated_cuda_expect_nothing_live(int device_count)
{
    uint64_t block_count = 0, byte_size = 0;
    for (int device = 0; device < device_count; device++) {
        int error = cudartSimGetLiveDeviceMemory(device, &block_count, &byte_size);
        CHECK(error == 0 && block_count == 0, "GPU %d: error %d, %" PRIu64 " blocks are left",
              device, error, block_count);
    }
    int error = cudartSimGetLiveHostMemory(&block_count, &byte_size);
    CHECK(error == 0 && block_count == 0, "pinned memory: error %d, %" PRIu64 " blocks are left",
          error, block_count);
    uint64_t stream_count = 0, event_count = 0;
    error = cudartSimGetLiveHandles(&stream_count, &event_count);
    CHECK(error == 0 && stream_count == 0 && event_count == 0,
          "error %d, %" PRIu64 " streams and %" PRIu64 " events are left", error, stream_count,
          event_count);
    CHECK(pinned_memory_nonpinned_count() == 0, "%.0f non-pinned blocks are left",
          pinned_memory_nonpinned_count());
}

void simulated_cuda_expect_pools_emptied(int device_count, double pool_byte_size)
{
    for (int device = 0; device < device_count; device++) {
        struct memory_pool_stats stats;
        CHECK(cuda_memory_stats(device, &stats) == MEMORY_OK && stats.allocation_count == 0 &&
                  stats.largest_free_byte_size == pool_byte_size,
              "GPU %d: %.0f blocks are left", device, stats.allocation_count);
        CHECK(stats.failed_allocation_count > 0, "GPU %d was never full", device);
    }
}

uint64_t simulated_cuda_call_count(const char *function)
{
    uint64_t count;
    int error = cudartSimGetCallCount(function, &count);
    CHECK(error == 0, "cudartSimGetCallCount of %s: error %d", function, error);
    return count;
}
