// Events, each of which marks a point in a stream's work. CUDA takes some microseconds to create
// one, so released events are kept and used again.
#ifndef CUDA_EVENT_H
#define CUDA_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

struct cuda_event {
    struct cuda_event *previous, *next; // of those that are owned, or of those that are released
    void *handle;
    int device;
    uint32_t owner;     // OWNER_PROCESS for one of the library's own
    uint64_t stream_id; // of the stream that it was recorded on last
    uint64_t mark;      // what the stream knows the point by
};

// An event for the point after all that the stream has been given so far, one of the library's own.
// Null, with a message, where CUDA or the system refuses.
struct cuda_event *event_record(const struct cuda_stream *stream);

// Whether the point is known to have been passed. An error, which is one of the stream's work, is
// noted for whoever waits for that. Once CUDA is lost nothing is under way any more.
bool event_is_done(struct cuda_event *event);

// Waits until the point has been passed. False where CUDA cannot tell. The caller says which stream
// the event is of, because the event may be released, and used for another stream, before this
// returns.
bool event_wait(struct cuda_event *event, uint64_t stream_id);

// Makes all that the stream is given from now on wait for the point. False where CUDA refuses, which
// is noted as an error of the stream.
bool event_make_stream_wait(struct cuda_event *event, const struct cuda_stream *stream);

void event_release(struct cuda_event *event);

// Releases the events of a thread that has ended.
void event_release_owner(uint32_t owner);

// Gives all released events back to CUDA.
enum memory_status event_destroy_released(void);

#endif
