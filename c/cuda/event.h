// Events that mark a point in a stream's work. CUDA takes some microseconds to make one, so they are
// kept and used again.
#ifndef CUDA_EVENT_H
#define CUDA_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

struct cuda_event {
    struct cuda_event *next; // while it is idle
    void *handle;
    int device;
    uint64_t stream_id; // of the stream that it was recorded on last
};

// The point after all that the stream has been given so far. Null, with a message, where CUDA or
// the system refuses.
struct cuda_event *cuda_event_after(const struct memory_stream *stream);

// Whether the point is known to have been passed. An error, which is one of the stream's work, is
// kept for whoever asks about the stream next on behalf of its owner.
bool cuda_event_has_passed(struct cuda_event *event);

// Waits until it has. False where CUDA cannot tell. The caller says which stream's it is, because the
// event may be recycled, and used for another stream, before this returns.
bool cuda_event_wait(struct cuda_event *event, uint64_t stream_id);

// Makes all that the stream is given from now on wait for the point. False where CUDA refuses, which
// is kept as an error of the stream.
bool cuda_event_hold_back(struct cuda_event *event, const struct memory_stream *stream);

// The event is not needed any more.
void cuda_event_recycle(struct cuda_event *event);

// Gives all idle events back to CUDA.
int32_t cuda_event_destroy_idle(void);

#endif
