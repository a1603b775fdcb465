// Streams of somebody else, which the library never destroys.
//
// Their owner may destroy one at any time, and a driver that is given the handle of a stream that was
// destroyed ends the process. So the handle is used in calls that name the stream, and in no others: no
// reset, no statistics and no end of a thread asks about a borrowed stream. Events that were recorded on it
// tell of its work as of any other's.
//
// A handle that is borrowed again while it is borrowed is the same stream, with the same id. Its owner may
// have destroyed the stream since, and CUDA may have given its handle to a new one. So a block that is
// pending on a borrowed stream is reused there only behind its event, as on any other stream.
#ifndef BORROWED_STREAM_H
#define BORROWED_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "cuda/known_stream.h"

// As cuda_stream_borrow(), without a look at what the handle is.
enum memory_status borrowed_stream_borrow(struct cuda_stream *stream, double handle,
                                          double device_id);

bool stream_is_borrowed(uint64_t stream_id);

// Ends one borrowing by the thread, and all borrowings of an owner. With the last of a stream its handle is
// not used any more. The caller of the first holds the lock of known_stream.h.
void borrowed_stream_return(struct known_stream *known);
void borrowed_stream_return_all(uint32_t owner);

// Finds the GPUs of which the owner has borrowed streams. There are DEVICE_COUNT_MAX places.
void borrowed_stream_find_devices(uint32_t owner, bool *has_borrowed);

#endif
