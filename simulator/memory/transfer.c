#include "memory/transfer.h"

#include <string.h>

#include "memory/device_memory.h"
#include "memory/host_memory.h"

// The memory on one side of a copy.
struct endpoint {
    char *bytes;
    bool is_on_device;
    int device; // only of memory on a device
    // The memory is pinned host memory, which is mapped into the devices' address space, so that
    // they reach it too.
    bool is_pinned;
};

static cudaError_t locate_endpoint(const void *pointer, size_t byte_size, struct endpoint *endpoint)
{
    if (pointer == NULL) return cudaErrorInvalidValue;
    *endpoint = (struct endpoint){.bytes = (char *)pointer};
    switch (device_memory_locate(pointer, byte_size, &endpoint->device, &endpoint->bytes)) {
    case DEVICE_RANGE_INVALID:
        return cudaErrorInvalidValue;
    case DEVICE_RANGE_LIVE:
        endpoint->is_on_device = true;
        break;
    case DEVICE_RANGE_OUTSIDE: {
        int device;
        endpoint->is_pinned = host_memory_find(pointer, byte_size, &device);
        break;
    }
    }
    return cudaSuccess;
}

static bool is_reached_by_device(const struct endpoint *endpoint)
{
    return endpoint->is_on_device || endpoint->is_pinned;
}

// Whether the kind fits the memory. What a kind calls host may be any memory: measured, CUDA with
// unified addressing refuses only pageable host memory in the place of a device's.
static bool is_allowed(enum cudaMemcpyKind kind, const struct endpoint *destination,
                       const struct endpoint *source)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return (!to_device || is_reached_by_device(destination)) &&
           (!from_device || is_reached_by_device(source));
}

static enum copy_path path_between(const struct endpoint *destination,
                                   const struct endpoint *source)
{
    if (destination->is_on_device && source->is_on_device) return COPY_DEVICE_TO_DEVICE;
    if (destination->is_on_device) {
        return source->is_pinned ? COPY_DEVICE_AND_PINNED : COPY_PAGEABLE_TO_DEVICE;
    }
    if (source->is_on_device) {
        return destination->is_pinned ? COPY_DEVICE_AND_PINNED : COPY_DEVICE_TO_PAGEABLE;
    }
    return COPY_HOST_TO_HOST;
}

static int device_of(const struct endpoint *endpoint)
{
    return endpoint->is_on_device ? endpoint->device : NO_DEVICE;
}

cudaError_t copy_prepare(void *destination, const void *source, size_t byte_size,
                         enum cudaMemcpyKind kind, struct copy *copy)
{
    *copy = (struct copy){.byte_size = byte_size};
    if (byte_size == 0) return cudaSuccess; // as from CUDA, whatever the other arguments are
    if ((unsigned int)kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
    struct endpoint to, from;
    if (locate_endpoint(destination, byte_size, &to) != cudaSuccess ||
        locate_endpoint(source, byte_size, &from) != cudaSuccess || !is_allowed(kind, &to, &from)) {
        return cudaErrorInvalidValue;
    }
    copy->destination = to.bytes;
    copy->source = from.bytes;
    copy->path = path_between(&to, &from);
    copy->destination_device = device_of(&to);
    copy->source_device = device_of(&from);
    return cudaSuccess;
}

void copy_run(const struct copy *copy)
{
    if (copy->byte_size == 0) return;
    // CUDA leaves overlapping ranges undefined; here they must not upset a memory checker.
    const void *source = copy->staged == NULL ? copy->source : copy->staged;
    memmove(copy->destination, source, copy->byte_size);
}

cudaError_t fill_prepare(void *destination, int value, size_t byte_size, struct fill *fill)
{
    *fill = (struct fill){.value = value, .byte_size = byte_size};
    if (byte_size == 0) return cudaSuccess;
    struct endpoint to;
    if (locate_endpoint(destination, byte_size, &to) != cudaSuccess || !is_reached_by_device(&to)) {
        return cudaErrorInvalidValue;
    }
    fill->destination = to.bytes;
    fill->is_on_host = !to.is_on_device;
    return cudaSuccess;
}

void fill_run(const struct fill *fill)
{
    if (fill->byte_size != 0) memset(fill->destination, fill->value, fill->byte_size);
}
