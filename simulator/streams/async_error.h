// Asynchronous errors: those of operations that fail when they run, after the call that queued them
// has returned.
//
// As CUDA documents, some errors are sticky: they end all work of the process, on every device. Every
// later call that needs a device returns the error, and what is queued has no effect. Any other
// asynchronous error is reported once, by the next call that waits for, or asks about, the operation
// that failed or a later one of its stream.
//
// The caller of a function here holds the lock of stream.h, unless the function's comment says
// otherwise.
#ifndef ASYNC_ERROR_H
#define ASYNC_ERROR_H

#include <stdint.h>

#include "cudart_abi.h"
#include "streams/stream.h"

// Notes that the stream's operation has failed. Of several errors of a stream that no call has
// reported, the first is kept.
void async_error_note(struct stream *stream, uint64_t sequence, cudaError_t error);

// Ends all work of the process if the error is sticky; the first such error is kept. Also called
// without the lock.
void sticky_error_note(cudaError_t error);

// The error that has ended all work of the process, or cudaSuccess. Also called without the lock.
cudaError_t sticky_error(void);

// The result for a call that finds the stream's operations done up to the one with that sequence. An
// error that is not sticky is forgotten: the call reports it.
cudaError_t async_error_report(struct stream *stream, uint64_t sequence);

// The same for a call that finds all streams of the device done, those that are gone included.
cudaError_t async_error_report_all(int device);

// Forgets all asynchronous errors. A process whose work had ended works again.
void async_errors_clear(void);

#endif
