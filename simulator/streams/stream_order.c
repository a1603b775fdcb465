#include "streams/stream_order.h"

#include "process/config.h"

bool stream_is_ordered(const struct stream *stream)
{
    return stream->kind != STREAM_NON_BLOCKING;
}

// The legacy stream waits for work only once: what it performs later comes after that anyway.
static bool is_not_awaited(const struct stream *stream)
{
    return stream->kind == STREAM_BLOCKING && stream->queued_count > stream->awaited_by_legacy;
}

static bool is_legacy(const struct stream *stream)
{
    return stream->kind == STREAM_LEGACY;
}

bool stream_order_collect(int device, stream_filter *filter, struct point_list *list)
{
    size_t count = 0;
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        count += !stream_is_idle(stream) && filter(stream);
    }
    if (!point_list_reserve(list, count)) return false;
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        if (!stream_is_idle(stream) && filter(stream)) point_list_add(list, point_of(stream));
    }
    return true;
}

static bool collect_of_other_devices(int device, uint64_t devices, struct point_list *after)
{
    for (int other = 0; other < MAX_DEVICE_COUNT; other++) {
        bool involved = other != device && (devices >> other & 1) != 0;
        if (involved && !stream_order_collect(other, stream_is_ordered, after)) return false;
    }
    return true;
}

static bool order_legacy(const struct stream *legacy, uint64_t devices, struct point_list *after)
{
    // One device's memory may be reached from another's stream without waiting for it.
    bool between_devices = (devices & (devices - 1)) != 0;
    if ((between_devices && !collect_of_other_devices(legacy->device, devices, after)) ||
        !stream_order_collect(legacy->device, is_not_awaited, after)) {
        return false;
    }
    struct stream *stream = streams_of_device(legacy->device);
    for (; stream != NULL; stream = stream->next) stream->awaited_by_legacy = stream->queued_count;
    return true;
}

bool stream_order(struct stream *stream, uint64_t devices, struct point_list *after)
{
    switch (stream->kind) {
    case STREAM_LEGACY:
        return order_legacy(stream, devices, after);
    case STREAM_BLOCKING:
        return stream_order_collect(stream->device, is_legacy, after);
    case STREAM_NON_BLOCKING:
        break;
    }
    return true;
}
