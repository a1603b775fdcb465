// The CUDA runtime's functions for memory, except those that move bytes.
#include "api/entry_point.h"
#include "memory/device_memory.h"
#include "memory/host_memory.h"
#include "process/config.h"
#include "process/thread_state.h"
#include "streams/stream.h"
#include "streams/synchronize.h"

ENTRY_POINT(cudaMalloc, UNSAFE_IN_CAPTURE, (void **device_pointer, size_t byte_size),
            (device_pointer, byte_size))
{
    if (device_pointer == NULL) return cudaErrorInvalidValue;
    return device_memory_allocate(thread_state.current_device, byte_size, device_pointer);
}

// Waits until the devices are idle that reach memory which is to be freed, those from `first` to
// before `end`. Of asynchronous errors, this reports only those that have ended all work.
static cudaError_t wait_for_devices(int first, int end)
{
    cudaError_t error = cudaSuccess;
    streams_lock();
    for (int device = first; device < end && error == cudaSuccess; device++) {
        error = device_wait_idle(device);
    }
    streams_unlock();
    return error;
}

ENTRY_POINT(cudaFree, UNSAFE_IN_CAPTURE, (void *device_pointer), (device_pointer))
{
    int device;
    cudaError_t error = cudaSuccess;
    if (device_memory_find(device_pointer, &device)) error = wait_for_devices(device, device + 1);
    return error == cudaSuccess ? device_memory_free(device_pointer) : error;
}

ENTRY_POINT(cudaMemGetInfo, WORKS_ON_DEVICE, (size_t *free_byte_size, size_t *total_byte_size),
            (free_byte_size, total_byte_size))
{
    int device = thread_state.current_device;
    uint64_t block_count, used_byte_size;
    device_memory_usage(device, &block_count, &used_byte_size);
    size_t total = config_get()->devices[device].memory_byte_size;
    // Measured with CUDA 13.0: either pointer may be null.
    if (total_byte_size != NULL) *total_byte_size = total;
    if (free_byte_size != NULL) *free_byte_size = total - used_byte_size;
    return cudaSuccess;
}

ENTRY_POINT(cudaHostAlloc, UNSAFE_IN_CAPTURE,
            (void **host_pointer, size_t byte_size, unsigned int flags),
            (host_pointer, byte_size, flags))
{
    // The flags change how real memory is reached and not what a program may do with it. Here all
    // pinned memory is portable and mapped, and none is write-combined.
    const unsigned int known =
        cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined;
    if (host_pointer == NULL || (flags & ~known) != 0) return cudaErrorInvalidValue;
    return host_memory_allocate(thread_state.current_device, byte_size, host_pointer);
}

ENTRY_POINT(cudaFreeHost, UNSAFE_IN_CAPTURE, (void *host_pointer), (host_pointer))
{
    // Every device reaches pinned memory.
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
