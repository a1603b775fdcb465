#include "streams/async_error.h"

#include <stdatomic.h>

#include "faults/errors.h"
#include "process/config.h"

static _Atomic int process_error;

void sticky_error_note(cudaError_t error)
{
    int none = cudaSuccess;
    if (error_is_sticky(error)) atomic_compare_exchange_strong(&process_error, &none, (int)error);
}

cudaError_t sticky_error(void)
{
    return (cudaError_t)process_error;
}

void async_error_note(struct stream *stream, uint64_t sequence, cudaError_t error)
{
    if (error_is_sticky(error)) {
        sticky_error_note(error);
    } else if (stream->async_error == cudaSuccess) {
        stream->async_error = error;
        stream->async_error_sequence = sequence;
    }
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
    cudaError_t sticky = sticky_error();
    if (sticky != cudaSuccess || stream->async_error_sequence > sequence) return sticky;
    return take(&stream->async_error);
}

cudaError_t async_error_report_all(int device)
{
    cudaError_t first = sticky_error();
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
    process_error = cudaSuccess;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        (void)async_error_report_all(device);
    }
}
