#include "cuda/stream_order.h"

#include "cuda/event.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "message.h"

enum memory_status stream_put_after(const struct cuda_stream *stream,
                                    const struct cuda_stream *other)
{
    struct cuda_event *event;
    enum memory_status status = event_record(other, &event);
    if (status != MEMORY_OK) return status;
    status = event_make_stream_wait(event, stream);
    event_release(event); // CUDA keeps the point that the stream waits for
    return status;
}

enum memory_status cuda_stream_wait_for(const struct cuda_stream *stream,
                                        const struct cuda_stream *other)
{
    message_clear();
    if (cuda_is_lost()) return stream_refuse_as_lost(stream->device_id);
    return stream_put_after(stream, other);
}
