// Events, each of which marks a point in a stream's work. CUDA takes some microseconds to create
// one, so released events are kept and used again.
#ifndef CUDA_EVENT_H
#define CUDA_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

struct cuda_event {
    struct cuda_event *next; // while it is released
    void *handle;
    int device;
    uint64_t stream_id; // of the stream that it was recorded on last
};

// An event for the point after all that the stream has been given so far. Null, with a message,
// where CUDA or the system refuses.
struct cuda_event *event_record(const struct cuda_stream *stream);

enum event_progress {
    EVENT_PASSED,
    EVENT_NOT_PASSED,
    EVENT_ERROR, // CUDA tells nothing but an error
};

// Whether the point has been passed. An error, which is one of the stream's work, is kept for whoever
// asks about the stream next on behalf of its owner.
enum event_progress event_progress(struct cuda_event *event);

// Makes all that the stream is given from now on wait for the point. False where CUDA refuses, which
// is kept as an error of the stream.
bool event_make_stream_wait(struct cuda_event *event, const struct cuda_stream *stream);

void event_release(struct cuda_event *event);

// Gives all released events back to CUDA.
enum memory_status event_destroy_released(void);

#endif
