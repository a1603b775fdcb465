// Events, each of which marks a point in a stream's work. CUDA takes some microseconds to create
// one, so released events are kept and used again.
#ifndef CUDA_EVENT_H
#define CUDA_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

struct known_stream;

struct cuda_event {
    struct cuda_event *previous, *next; // of those that are owned, or of those that are released
    void *handle;
    int device;
    uint32_t owner;             // OWNER_PROCESS for one of the library's own
    uint64_t stream_id;         // of the stream that it was recorded on last
    struct known_stream *known; // that stream, which is kept for it; or null
    uint64_t mark;              // what the stream knows the point by
};

// Makes an event, one of the library's own, for the point after all that the stream has been given so
// far. MEMORY_UNSUPPORTED where the stream is being captured.
enum memory_status event_record(const struct cuda_stream *stream, struct cuda_event **event);

enum event_progress {
    EVENT_PASSED,
    EVENT_NOT_PASSED,
    EVENT_ERROR, // CUDA tells nothing but an error
};

// Whether the point has been passed. An error, which is one of the stream's work, is noted for whoever
// waits for that. Once CUDA is lost every point has been passed: nothing is under way any more.
enum event_progress event_progress(struct cuda_event *event);

// Makes all that the stream is given from now on wait for the point. MEMORY_UNSUPPORTED where the stream
// is being captured. Any other failure is noted as one of the stream's work too, so that a caller that
// has another way need not say so.
enum memory_status event_make_stream_wait(struct cuda_event *event,
                                          const struct cuda_stream *stream);

void event_release(struct cuda_event *event);

// Releases the events of a thread that has ended.
void event_release_owner(uint32_t owner);

// Gives all released events back to CUDA.
enum memory_status event_destroy_released(void);

#endif
