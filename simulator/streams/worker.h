// The threads that perform what is queued on streams: one for each stream on which anything ever
// was.
#ifndef WORKER_H
#define WORKER_H

#include <stdbool.h>

#include "streams/stream.h"

// Starts the stream's worker if it has none. False when there can be no more threads. The caller
// holds the lock of stream.h.
bool worker_ensure(struct stream *stream);

#endif
