// Places in the queues of streams, for waiting until the work up to there is done. The caller holds
// the lock of streams.h.
#ifndef POINT_H
#define POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

// Just behind one operation of a stream: see stream.queued_count. Holds a reference to the stream.
struct point {
    struct stream *stream;
    uint64_t sequence;
};

// Behind all that is queued on the stream.
struct point point_of(struct stream *stream);
void point_release(const struct point *point);

bool point_reached(const struct point *point);

// Gives up the lock while it waits.
void point_wait(const struct point *point);

// Wakes those who wait for points of the stream that are reached now.
void point_wake(const struct stream *stream);

// All zero is an empty list.
struct point_list {
    struct point *points;
    size_t count;
    size_t capacity;
};

// Makes sure that so many points can be added. False when there is no memory.
bool point_list_reserve(struct point_list *list, size_t count);

// Takes over the point. There must be room for it.
void point_list_add(struct point_list *list, struct point point);

void point_list_wait(const struct point_list *list);
void point_list_release(struct point_list *list);

#endif
