// A stream of the simulator that is held until the test releases it. Work that is queued on it
// meanwhile is certainly not done, so that no test has to guess how long work takes.
#ifndef HELD_STREAM_H
#define HELD_STREAM_H

#include <semaphore.h>

#include "bun_cuda_memory.h"

// What a held stream waits for. It must not be moved or held again before the stream is released
// and done.
struct hold {
    sem_t released;
};

// Queues the hold on the stream: work that was queued before is still done.
void hold_stream(const struct cuda_stream *stream, struct hold *hold);
void release_stream(struct hold *hold);

#endif
