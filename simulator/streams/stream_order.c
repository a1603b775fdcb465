#include "streams/stream_order.h"

#include "memory/transfer.h"
#include "process/config.h"

bool stream_is_ordered(const struct stream *stream)
{
    return stream->kind != STREAM_NON_BLOCKING;
}

// Whether the legacy stream has yet to wait for work of the stream. It waits for the same work only
// once, because what it performs later comes after that anyway.
static bool is_not_awaited(const struct stream *stream)
{
    return stream->kind == STREAM_BLOCKING && stream->queued_count > stream->awaited_by_legacy;
}

static bool is_legacy(const struct stream *stream)
{
    return stream->kind == STREAM_LEGACY;
}

bool stream_order_collect(int device, stream_filter *filter, struct sync_point_list *list)
{
    size_t count = 0;
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        count += !stream_is_idle(stream) && filter(stream);
    }
    if (!sync_point_list_reserve(list, count)) return false;
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        if (!stream_is_idle(stream) && filter(stream))
            sync_point_list_add(list, sync_point_of(stream));
    }
    return true;
}

// Adds what a copy has to wait for on the devices of its mask other than `device`, its stream's.
static bool collect_of_other_devices(int device, uint64_t device_mask,
                                     struct sync_point_list *after)
{
    for (int other = 0; other < DEVICE_COUNT_MAX; other++) {
        bool is_involved = other != device && (device_mask >> other & 1) != 0;
        if (is_involved && !stream_order_collect(other, stream_is_ordered, after)) return false;
    }
    return true;
}

static bool order_legacy(const struct stream *legacy, uint64_t device_mask,
                         struct sync_point_list *after)
{
    // A copy within one device's memory waits only for streams of the legacy stream's own device, even
    // where the memory is another device's.
    if ((is_between_devices(device_mask) &&
         !collect_of_other_devices(legacy->device, device_mask, after)) ||
        !stream_order_collect(legacy->device, is_not_awaited, after)) {
        return false;
    }
    struct stream *stream = streams_of_device(legacy->device);
    for (; stream != NULL; stream = stream->next) stream->awaited_by_legacy = stream->queued_count;
    return true;
}

bool stream_order(struct stream *stream, uint64_t device_mask, struct sync_point_list *after)
{
    switch (stream->kind) {
    case STREAM_LEGACY:
        return order_legacy(stream, device_mask, after);
    case STREAM_BLOCKING:
        return stream_order_collect(stream->device, is_legacy, after);
    case STREAM_NON_BLOCKING:
        break;
    }
    return true;
}
