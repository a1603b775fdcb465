#include "held_stream.h"

#include <errno.h>
#include <stdint.h>

#include "check.h"
#include "cudart_abi.h"

static void wait_for_release(void *argument)
{
    struct hold *hold = argument;
    while (sem_wait(&hold->released) != 0) CHECK(errno == EINTR, "sem_wait: %d", errno);
}

void hold_stream(const struct cuda_stream *stream, struct hold *hold)
{
    CHECK(sem_init(&hold->released, 0, 0) == 0, "sem_init: %d", errno);
    cudaStream_t handle = (cudaStream_t)(uintptr_t)stream->handle;
    int error = (int)cudaLaunchHostFunc(handle, wait_for_release, hold);
    CHECK(error == 0, "cudaLaunchHostFunc: %d", error);
}

void release_stream(struct hold *hold)
{
    sem_post(&hold->released);
}
