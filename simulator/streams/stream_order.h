// How streams wait for each other without being told to, as CUDA documents it.
//
// A device's legacy default stream waits for all that was queued before on the device's blocking
// streams, and they wait for it. Streams that were created non-blocking take no part. A copy on a
// legacy default stream from one device to another is ordered in this way on both.
//
// The caller of a function here holds the lock of stream.h.
#ifndef STREAM_ORDER_H
#define STREAM_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/transfer.h"
#include "streams/stream.h"
#include "streams/sync_point.h"

// Adds what an operation has to wait for that is about to be queued on the stream. `copy` is
// NULL where it is none. False when there is no memory.
bool stream_order(struct stream *stream, const struct copy *copy, struct sync_point_list *after);

// Whether the stream takes part in the order.
bool stream_is_ordered(const struct stream *stream);

// Adds a point behind the work of each of the device's streams that is not idle and that the filter
// accepts. False when there is no memory.
typedef bool stream_filter(const struct stream *stream);
bool stream_order_collect(int device, stream_filter *filter, struct sync_point_list *list);

#endif
