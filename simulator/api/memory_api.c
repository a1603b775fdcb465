// The CUDA runtime's functions for memory, except those that move bytes.
#include "api/entry_point.h"
#include "memory/device_memory.h"
#include "memory/host_memory.h"
#include "process/config.h"
#include "process/thread_state.h"
#include "streams/stream.h"
#include "streams/synchronize.h"

ENTRY_POINT(cudaMalloc, WORKS_ON_DEVICE, (void **device_pointer, size_t size),
            (device_pointer, size))
{
    if (device_pointer == NULL) return cudaErrorInvalidValue;
    return device_memory_allocate(thread_state.current_device, size, device_pointer);
}

// Memory is freed when the devices that reach it, those from `first` to before `end`, are idle.
// That reports no late errors, except those that have ended all work on a device.
static cudaError_t wait_for_devices(int first, int end)
{
    cudaError_t error = cudaSuccess;
    streams_lock();
    for (int device = first; device < end && error == cudaSuccess; device++) {
        error = device_wait(device);
    }
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaFree, WORKS_ON_DEVICE, (void *device_pointer), (device_pointer))
{
    int device;
    cudaError_t error = cudaSuccess;
    if (device_memory_find(device_pointer, &device)) error = wait_for_devices(device, device + 1);
    return error == cudaSuccess ? device_memory_free(device_pointer) : error;
}

ENTRY_POINT(cudaMemGetInfo, WORKS_ON_DEVICE, (size_t *free_bytes, size_t *total_bytes),
            (free_bytes, total_bytes))
{
    int device = thread_state.current_device;
    uint64_t block_count, used_bytes;
    device_memory_usage(device, &block_count, &used_bytes);
    uint64_t total = config_get()->devices[device].memory_bytes;
    // Measured: nobody has to want either.
    if (total_bytes != NULL) *total_bytes = total;
    if (free_bytes != NULL) *free_bytes = total - used_bytes;
    return cudaSuccess;
}

ENTRY_POINT(cudaHostAlloc, WORKS_ON_DEVICE, (void **host_pointer, size_t size, unsigned int flags),
            (host_pointer, size, flags))
{
    // All pinned memory is portable and mapped here, and none is write-combined: the flags change
    // how real memory is reached, not what a program may do with it.
    const unsigned int known =
        cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if (host_pointer == NULL || (flags & ~known) != 0) return cudaErrorInvalidValue;
    return host_memory_allocate(thread_state.current_device, size, host_pointer);
}

ENTRY_POINT(cudaFreeHost, WORKS_ON_DEVICE, (void *host_pointer), (host_pointer))
{
    // Every device reaches it.
    int device;
    cudaError_t error = cudaSuccess;
    if (host_memory_find(host_pointer, 1, &device)) {
        error = wait_for_devices(0, config_get()->device_count);
    }
    return error == cudaSuccess ? host_memory_free(host_pointer) : error;
}

ENTRY_POINT(cudaPointerGetAttributes, NEEDS_DEVICE,
            (struct cudaPointerAttributes * attributes, const void *pointer), (attributes, pointer))
{
    if (attributes == NULL) return cudaErrorInvalidValue;
    void *address = (void *)pointer;
    int device;
    if (device_memory_find(pointer, &device)) {
        *attributes = (struct cudaPointerAttributes){
            .type = cudaMemoryTypeDevice, .device = device, .devicePointer = address};
    } else if (host_memory_find(pointer, 1, &device)) {
        *attributes = (struct cudaPointerAttributes){.type = cudaMemoryTypeHost,
                                                     .device = device,
                                                     .devicePointer = address,
                                                     .hostPointer = address};
    } else {
        *attributes = (struct cudaPointerAttributes){.type = cudaMemoryTypeUnregistered,
                                                     .device = cudaInvalidDeviceId,
                                                     .hostPointer = address};
    }
    return cudaSuccess;
}
