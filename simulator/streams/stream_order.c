#include "streams/stream_order.h"

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

// Adds what the operation has to wait for on a device that is not its stream's.
static bool collect_of_other(const struct stream *legacy, int device, struct sync_point_list *after)
{
    return device == legacy->device || stream_order_collect(device, stream_is_ordered, after);
}

static bool order_legacy(const struct stream *legacy, const struct copy *copy,
                         struct sync_point_list *after)
{
    // A copy within one device's memory waits only for streams of the legacy stream's own device, even
    // where the memory is another device's.
    if ((copy != NULL && is_between_devices(copy) &&
         (!collect_of_other(legacy, copy->destination_device, after) ||
          !collect_of_other(legacy, copy->source_device, after))) ||
        !stream_order_collect(legacy->device, is_not_awaited, after)) {
        return false;
    }
    struct stream *stream = streams_of_device(legacy->device);
    for (; stream != NULL; stream = stream->next) stream->awaited_by_legacy = stream->queued_count;
    return true;
}

bool stream_order(struct stream *stream, const struct copy *copy, struct sync_point_list *after)
{
    switch (stream->kind) {
    case STREAM_LEGACY:
        return order_legacy(stream, copy, after);
    case STREAM_BLOCKING:
        return stream_order_collect(stream->device, is_legacy, after);
    case STREAM_NON_BLOCKING:
        break;
    }
    return true;
}
