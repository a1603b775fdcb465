// Errors of operations that fail when they run, after the call that queued them has returned.
//
// As CUDA documents, some errors end all work on a device: every later call that works on it
// returns them, and what is queued on it has no effect. Any other is reported once, by the next
// call that waits for, or asks about, the operation that failed or a later one of its stream.
//
// The caller of a function here holds the lock of stream.h, unless its comment says otherwise.
#ifndef LATE_ERROR_H
#define LATE_ERROR_H

#include <stdint.h>

#include "cudart_abi.h"
#include "streams/stream.h"

// The stream's operation has failed. Of several errors that nobody has reported, the first is kept.
void late_error_note(struct stream *stream, uint64_t sequence, cudaError_t error);

// The error that ended all work on the device, or cudaSuccess. Also called without the lock.
cudaError_t late_error_of_device(int device);

// Gives what is to be reported of the stream's operations up to that one, and forgets it.
cudaError_t late_error_take(struct stream *stream, uint64_t sequence);

// The same of all streams of the device, those that are gone included.
cudaError_t late_error_take_all(int device);

// Forgets all late errors; devices on which work had ended work again.
void late_errors_clear(void);

#endif
