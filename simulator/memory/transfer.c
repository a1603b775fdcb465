#include "memory/transfer.h"

#include <string.h>

#include "memory/device_memory.h"
#include "memory/host_memory.h"

// One side of a copy.
struct endpoint {
    char *bytes;
    bool on_device;
    int device;
    // Pinned host memory is mapped into the devices' address space, so they reach it too.
    bool pinned;
};

static cudaError_t locate_endpoint(const void *pointer, size_t size, struct endpoint *endpoint)
{
    if (pointer == NULL) return cudaErrorInvalidValue;
    *endpoint = (struct endpoint){.bytes = (char *)pointer};
    switch (device_memory_locate(pointer, size, &endpoint->device, &endpoint->bytes)) {
    case DEVICE_RANGE_INVALID:
        return cudaErrorInvalidValue;
    case DEVICE_RANGE_LIVE:
        endpoint->on_device = true;
        break;
    case DEVICE_RANGE_OUTSIDE: {
        int device;
        endpoint->pinned = host_memory_find(pointer, size, &device);
        break;
    }
    }
    return cudaSuccess;
}

static bool reached_by_device(const struct endpoint *endpoint)
{
    return endpoint->on_device || endpoint->pinned;
}

// What a kind calls host may be any memory: measured, CUDA with unified addressing refuses only
// ordinary host memory in the place of a device's.
static bool allows(enum cudaMemcpyKind kind, const struct endpoint *destination,
                   const struct endpoint *source)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return (!to_device || reached_by_device(destination)) &&
           (!from_device || reached_by_device(source));
}

static enum copy_path path_between(const struct endpoint *destination,
                                   const struct endpoint *source)
{
    if (destination->on_device && source->on_device) return COPY_DEVICE_TO_DEVICE;
    if (destination->on_device) {
        return source->pinned ? COPY_DEVICE_AND_PINNED : COPY_PAGEABLE_TO_DEVICE;
    }
    if (source->on_device) {
        return destination->pinned ? COPY_DEVICE_AND_PINNED : COPY_DEVICE_TO_PAGEABLE;
    }
    return COPY_HOST_TO_HOST;
}

static uint64_t device_bit(const struct endpoint *endpoint)
{
    return endpoint->on_device ? UINT64_C(1) << endpoint->device : 0;
}

cudaError_t copy_prepare(void *destination, const void *source, size_t size,
                         enum cudaMemcpyKind kind, struct copy *copy)
{
    *copy = (struct copy){.size = size};
    if (size == 0) return cudaSuccess; // as CUDA does, whatever the other arguments are
    if ((unsigned int)kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
    struct endpoint to, from;
    if (locate_endpoint(destination, size, &to) != cudaSuccess ||
        locate_endpoint(source, size, &from) != cudaSuccess || !allows(kind, &to, &from)) {
        return cudaErrorInvalidValue;
    }
    copy->destination = to.bytes;
    copy->source = from.bytes;
    copy->path = path_between(&to, &from);
    copy->devices = device_bit(&to) | device_bit(&from);
    return cudaSuccess;
}

void copy_run(const struct copy *copy)
{
    // CUDA leaves overlapping ranges undefined; here they must not upset a memory checker.
    if (copy->size != 0) {
        memmove(copy->destination, copy->staged == NULL ? copy->source : copy->staged, copy->size);
    }
}

cudaError_t fill_prepare(void *destination, int value, size_t size, struct fill *fill)
{
    *fill = (struct fill){.value = value, .size = size};
    if (size == 0) return cudaSuccess;
    struct endpoint to;
    if (locate_endpoint(destination, size, &to) != cudaSuccess || !reached_by_device(&to)) {
        return cudaErrorInvalidValue;
    }
    fill->destination = to.bytes;
    fill->on_host = !to.on_device;
    return cudaSuccess;
}

void fill_run(const struct fill *fill)
{
    if (fill->size != 0) memset(fill->destination, fill->value, fill->size);
}
