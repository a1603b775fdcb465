// What one call of cudaEventRecord captures. A record lives as long as its event or its operation
// refers to it. The caller of a function here holds the lock of stream.h, unless the function's
// comment says otherwise.
#ifndef EVENT_RECORD_H
#define EVENT_RECORD_H

#include <stddef.h>
#include <time.h>

#include "streams/sync_point.h"

struct event_record {
    size_t reference_count;
    // The point behind the operation that performs the record. It has no stream until that operation
    // is queued.
    struct sync_point point;
    // Where the stream is being captured, the operation is not queued: the capture and the stream,
    // which the record refers to, and how many operations the stream had captured.
    struct capture *capture;
    struct stream *captured_on;
    uint64_t captured_count;
    // When the operation was performed.
    struct timespec time;
};

// With one reference. NULL when there is no memory.
struct event_record *event_record_new(void);

void event_record_keep(struct event_record *record);

// Frees the record with its last reference.
void event_record_release(struct event_record *record);

// Notes the time. Called without the lock, once, before the point is reached.
void event_record_perform(struct event_record *record);

#endif
