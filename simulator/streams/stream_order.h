// How streams wait for each other without being told to, as CUDA documents it.
//
// A device's legacy default stream waits for all that was queued before on the device's blocking
// streams, and they for it. Streams that were created non-blocking take no part. A copy on a legacy
// default stream between two devices is ordered so on both.
//
// The caller of a function here holds the lock of stream.h.
#ifndef STREAM_ORDER_H
#define STREAM_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "streams/point.h"
#include "streams/stream.h"

// Adds what an operation has to wait for that is about to be queued on the stream. `devices` has
// the bits of the devices whose memory it copies. False when there is no memory.
bool stream_order(struct stream *stream, uint64_t devices, struct point_list *after);

// Whether the stream takes part in the order.
bool stream_is_ordered(const struct stream *stream);

// Adds points behind the work of the device's streams that is not done, of those that the filter
// accepts. False when there is no memory.
typedef bool stream_filter(const struct stream *stream);
bool stream_order_collect(int device, stream_filter *filter, struct point_list *list);

#endif
