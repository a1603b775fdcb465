#include "streams/late_error.h"

#include <stdatomic.h>

#include "faults/errors.h"
#include "process/config.h"
#include "streams/stream.h"

static _Atomic int fatal_errors[MAX_DEVICE_COUNT];

void late_error_note(struct stream *stream, uint64_t sequence, cudaError_t error)
{
    if (error_is_fatal(error)) {
        fatal_errors[stream->device] = (int)error;
    } else if (stream->late_error == cudaSuccess) {
        stream->late_error = error;
        stream->late_error_sequence = sequence;
    }
}

cudaError_t late_error_of_device(int device)
{
    return (cudaError_t)fatal_errors[device];
}

// Gives one error, and leaves none.
static cudaError_t take(cudaError_t *error)
{
    cudaError_t taken = *error;
    *error = cudaSuccess;
    return taken;
}

cudaError_t late_error_take(struct stream *stream, uint64_t sequence)
{
    cudaError_t fatal = late_error_of_device(stream->device);
    if (fatal != cudaSuccess || stream->late_error_sequence > sequence) return fatal;
    return take(&stream->late_error);
}

cudaError_t late_error_take_all(int device)
{
    cudaError_t first = late_error_of_device(device);
    cudaError_t left = take(streams_left_error(device));
    if (first == cudaSuccess) first = left;
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        cudaError_t error = take(&stream->late_error);
        if (first == cudaSuccess) first = error;
    }
    return first;
}

void late_errors_clear(void)
{
    for (int device = 0; device < MAX_DEVICE_COUNT; device++) {
        fatal_errors[device] = cudaSuccess;
        (void)late_error_take_all(device);
    }
}
