// A stream of the simulator that stands still until the test lets it go on: what is queued on it
// meanwhile is certainly not done, and no test has to guess how long that takes.
#ifndef HELD_STREAM_H
#define HELD_STREAM_H

#include <semaphore.h>

#include "bun_cuda_memory.h"

// Where a stream stands still. Must stay where it is until the stream has gone on and is done.
struct hold {
    sem_t released;
};

// Queues the hold: what was queued before is still done.
void hold_stream(const struct cuda_stream *stream, struct hold *hold);
void release_stream(struct hold *hold);

#endif
