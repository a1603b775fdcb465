// Streams of threads that have ended.

#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/event.h"
#include "cuda/known_stream.h"
#include "cuda/stream.h"

// Takes the owner's streams, as a list. No other thread uses or destroys them.
static struct known_stream *streams_of(uint32_t owner)
{
    struct known_stream *list = NULL;
    known_streams_lock();
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (known->is_released || known->is_destroyed || known->owner != owner) continue;
        known->next_like = list;
        list = known;
    }
    known_streams_unlock();
    return list;
}

// Makes what the first stream is given from now on come after what the second was given.
static enum memory_status put_in_order(const struct cuda_stream *first,
                                       const struct cuda_stream *second)
{
    struct cuda_event *event;
    enum memory_status status = event_record(second, &event);
    if (status != MEMORY_OK) return status;
    status = event_make_stream_wait(event, first);
    event_release(event);
    return status;
}

// Waits for what cannot be put in order: the stream, or its device where the stream cannot be asked, or
// was being captured when its thread ended. An error of the work is noted, and the work is over.
static void wait_for(const struct cuda_stream *stream)
{
    if (cuda_stream_synchronize(stream) == MEMORY_OK) return;
    (void)stream_synchronize_device((int)stream->device_id);
}

bool stream_join_owner(uint32_t owner, struct cuda_stream *joined)
{
    bool has_joined = false;
    for (const struct known_stream *known = streams_of(owner); known != NULL;
         known = known->next_like) {
        const struct cuda_stream *stream = &known->stream;
        bool is_in_order = has_joined ? put_in_order(joined, stream) == MEMORY_OK
                                      : stream_check(stream) == MEMORY_OK;
        if (!is_in_order) wait_for(stream);
        else if (!has_joined) *joined = *stream;
        has_joined |= is_in_order;
    }
    return has_joined;
}
