// The streams that nobody creates: the legacy default stream of each device, and each thread's own
// default stream on each device. They are made when they are first used. The caller of a function
// here holds the lock of stream.h.
#ifndef DEFAULT_STREAM_H
#define DEFAULT_STREAM_H

#include "streams/stream.h"

// The device's legacy default stream, which is never closed. NULL when there is no memory.
struct stream *legacy_default_stream(int device);

// The calling thread's own default stream on the device, which is closed when the thread ends. NULL
// when there is no memory.
struct stream *thread_default_stream(int device);

#endif
