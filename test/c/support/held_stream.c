#include "held_stream.h"

#include <errno.h>

#include "check.h"
#include "cuda/stream.h"

// The simulator is linked with the tests, and the library does not call this function.
int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *argument);

static void wait_for_release(void *argument)
{
    struct hold *hold = argument;
    while (sem_wait(&hold->released) != 0) CHECK(errno == EINTR, "sem_wait: %d", errno);
}

void hold_stream(const struct cuda_stream *stream, struct hold *hold)
{
    CHECK(sem_init(&hold->released, 0, 0) == 0, "sem_init: %d", errno);
    int error = cudaLaunchHostFunc(stream_handle(stream), wait_for_release, hold);
    CHECK(error == 0, "cudaLaunchHostFunc: %d", error);
}

void release_stream(struct hold *hold)
{
    sem_post(&hold->released);
}
