#include "streams/async_error.h"

#include "faults/errors.h"
#include "process/config.h"

static _Atomic int sticky_errors[DEVICE_COUNT_MAX];

void async_error_note(struct stream *stream, uint64_t sequence, cudaError_t error)
{
    if (error_is_sticky(error)) {
        sticky_errors[stream->device] = (int)error;
    } else if (stream->async_error == cudaSuccess) {
        stream->async_error = error;
        stream->async_error_sequence = sequence;
    }
}

cudaError_t device_sticky_error(int device)
{
    return (cudaError_t)sticky_errors[device];
}

// Gives the error, and sets it to cudaSuccess.
static cudaError_t take(cudaError_t *error)
{
    cudaError_t taken = *error;
    *error = cudaSuccess;
    return taken;
}

cudaError_t async_error_report(struct stream *stream, uint64_t sequence)
{
    cudaError_t sticky = device_sticky_error(stream->device);
    if (sticky != cudaSuccess || stream->async_error_sequence > sequence) return sticky;
    return take(&stream->async_error);
}

cudaError_t async_error_report_all(int device)
{
    cudaError_t first = device_sticky_error(device);
    cudaError_t inherited = take(device_inherited_error(device));
    if (first == cudaSuccess) first = inherited;
    for (struct stream *stream = streams_of_device(device); stream != NULL; stream = stream->next) {
        cudaError_t error = take(&stream->async_error);
        if (first == cudaSuccess) first = error;
    }
    return first;
}

void async_errors_clear(void)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        sticky_errors[device] = cudaSuccess;
        (void)async_error_report_all(device);
    }
}
