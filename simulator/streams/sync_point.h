// Synchronization points: places in the queues of streams, for waiting until the work up to there is
// done. The caller of a function here holds the lock of stream.h.
#ifndef SYNC_POINT_H
#define SYNC_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "streams/stream.h"

// The place just behind the stream's operation with that sequence. A point that sync_point_of gave
// holds a reference to the stream.
struct sync_point {
    struct stream *stream;
    uint64_t sequence;
};

// The point behind all that is queued on the stream.
struct sync_point sync_point_of(struct stream *stream);
void sync_point_release(const struct sync_point *point);

bool sync_point_is_reached(const struct sync_point *point);

// Gives up the lock while it waits. The stream must be kept meanwhile.
void sync_point_wait(const struct sync_point *point);

// Wakes the threads that wait for points of the stream that are reached now.
void sync_points_signal(const struct stream *stream);

// All zero is an empty list.
struct sync_point_list {
    struct sync_point *points;
    size_t count;
    size_t capacity;
};

// Makes room for so many more points. False when there is no memory.
bool sync_point_list_reserve(struct sync_point_list *list, size_t count);

// Takes over the point, and with it the reference to the stream. There must be room for it.
void sync_point_list_add(struct sync_point_list *list, struct sync_point point);

void sync_point_list_wait(const struct sync_point_list *list);
void sync_point_list_release(struct sync_point_list *list);

#endif
