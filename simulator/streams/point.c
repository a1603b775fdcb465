#include "streams/point.h"

#include <stdlib.h>

#include "streams/stream.h"

struct point point_of(struct stream *stream)
{
    stream_keep(stream);
    return (struct point){stream, stream->queued_count};
}

void point_release(const struct point *point)
{
    stream_release(point->stream);
}

bool point_reached(const struct point *point)
{
    return point->stream->done_count >= point->sequence;
}

// A thread that waits. Each is woken by itself: hundreds of streams may wait for one.
struct waiter {
    uint64_t sequence;
    pthread_cond_t woken;
    struct waiter *previous;
    struct waiter *next;
};

static void link_waiter(struct stream *stream, struct waiter *waiter)
{
    waiter->next = stream->waiters;
    if (waiter->next != NULL) waiter->next->previous = waiter;
    stream->waiters = waiter;
}

static void unlink_waiter(struct stream *stream, const struct waiter *waiter)
{
    if (waiter->previous != NULL) waiter->previous->next = waiter->next;
    else stream->waiters = waiter->next;
    if (waiter->next != NULL) waiter->next->previous = waiter->previous;
}

void point_wait(const struct point *point)
{
    if (point_reached(point)) return;
    struct waiter waiter = {.sequence = point->sequence, .woken = PTHREAD_COND_INITIALIZER};
    link_waiter(point->stream, &waiter);
    while (!point_reached(point)) streams_wait(&waiter.woken);
    unlink_waiter(point->stream, &waiter);
    pthread_cond_destroy(&waiter.woken);
}

void point_wake(const struct stream *stream)
{
    for (struct waiter *waiter = stream->waiters; waiter != NULL; waiter = waiter->next) {
        if (waiter->sequence <= stream->done_count) pthread_cond_signal(&waiter->woken);
    }
}

bool point_list_reserve(struct point_list *list, size_t count)
{
    if (list->capacity - list->count >= count) return true;
    size_t capacity = list->count + count;
    struct point *grown = realloc(list->points, capacity * sizeof *grown);
    if (grown == NULL) return false;
    list->points = grown;
    list->capacity = capacity;
    return true;
}

void point_list_add(struct point_list *list, struct point point)
{
    list->points[list->count++] = point;
}

void point_list_wait(const struct point_list *list)
{
    for (size_t i = 0; i < list->count; i++) point_wait(&list->points[i]);
}

void point_list_release(struct point_list *list)
{
    for (size_t i = 0; i < list->count; i++) point_release(&list->points[i]);
    free(list->points);
    *list = (struct point_list){0};
}
