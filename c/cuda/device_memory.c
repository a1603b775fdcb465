#include "cuda/device_memory.h"

#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/device_scope.h"
#include "message.h"

enum memory_status device_memory_read(int device, struct device_memory *memory)
{
    struct device_scope scope;
    enum memory_status status = device_scope_enter(&scope, device);
    if (status != MEMORY_OK) return status;
    size_t free_byte_size = 0, total_byte_size = 0;
    status = cudart_check(CUDART(cudaMemGetInfo(&free_byte_size, &total_byte_size)),
                          "cudaMemGetInfo", "read how much memory GPU %d has", device);
    *memory = (struct device_memory){.free_byte_size = (double)free_byte_size,
                                     .total_byte_size = (double)total_byte_size};
    return device_scope_leave(&scope, status);
}

enum memory_status cuda_device_memory(double device_id, struct device_memory *memory)
{
    message_clear();
    if (!cudart_is_bound() || device_id >= DEVICE_COUNT_MAX) {
        return message_set(
            MEMORY_UNAVAILABLE, "failed to read how much memory GPU %.0f has: %s", device_id,
            cudart_is_bound() ? "no GPU beyond the 128th can be used" : "there is no CUDA runtime");
    }
    return device_memory_read((int)device_id, memory);
}
