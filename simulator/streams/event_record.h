// What one call of cudaEventRecord captures. It lives as long as its event or its operation refers
// to it. The caller of a function here holds the lock of stream.h, unless its comment says
// otherwise.
#ifndef EVENT_RECORD_H
#define EVENT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "streams/point.h"

struct event_record {
    size_t reference_count;
    // Behind the operation that stamps the record. Without a stream until that is queued.
    struct point point;
    // When that was performed.
    struct timespec time;
};

// With one reference. NULL when there is no memory.
struct event_record *event_record_new(void);

void event_record_keep(struct event_record *record);
void event_record_release(struct event_record *record);

// Notes the time. Called without the lock, once, before the point is reached.
void event_record_stamp(struct event_record *record);

#endif
