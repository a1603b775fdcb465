#include "streams/sync_point.h"

#include <assert.h>
#include <stdlib.h>

struct sync_point sync_point_of(struct stream *stream)
{
    stream_keep(stream);
    return (struct sync_point){stream, stream->queued_count};
}

void sync_point_release(const struct sync_point *point)
{
    stream_release(point->stream);
}

bool sync_point_is_reached(const struct sync_point *point)
{
    return point->stream->done_count >= point->sequence;
}

// A thread that waits. Each has a condition of its own, so that only those are woken whose point is
// reached: hundreds of streams may wait for one.
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

void sync_point_wait(const struct sync_point *point)
{
    if (sync_point_is_reached(point)) return;
    struct waiter waiter = {.sequence = point->sequence, .woken = PTHREAD_COND_INITIALIZER};
    link_waiter(point->stream, &waiter);
    while (!sync_point_is_reached(point)) streams_wait(&waiter.woken);
    unlink_waiter(point->stream, &waiter);
    pthread_cond_destroy(&waiter.woken);
}

void sync_points_signal(const struct stream *stream)
{
    for (struct waiter *waiter = stream->waiters; waiter != NULL; waiter = waiter->next) {
        if (waiter->sequence <= stream->done_count) pthread_cond_signal(&waiter->woken);
    }
}

bool sync_point_list_reserve(struct sync_point_list *list, size_t count)
{
    if (list->capacity - list->count >= count) return true;
    size_t capacity = list->count + count;
    struct sync_point *grown = realloc(list->points, capacity * sizeof *grown);
    if (grown == NULL) return false;
    list->points = grown;
    list->capacity = capacity;
    return true;
}

void sync_point_list_add(struct sync_point_list *list, struct sync_point point)
{
    assert(list->count < list->capacity);
    list->points[list->count++] = point;
}

void sync_point_list_wait(const struct sync_point_list *list)
{
    for (size_t i = 0; i < list->count; i++) sync_point_wait(&list->points[i]);
}

void sync_point_list_release(struct sync_point_list *list)
{
    for (size_t i = 0; i < list->count; i++) sync_point_release(&list->points[i]);
    free(list->points);
    *list = (struct sync_point_list){0};
}
