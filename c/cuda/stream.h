// What the rest of the library needs of streams beyond what is exported.
//
// CUDA tells an error of a stream's work once, to whoever asks first. So what finds one notes it here
// before it tells anybody: every point in the stream's work that was marked before and was not seen
// passed then (an event) answers with it, and so does the stream itself, once.
#ifndef CUDA_STREAM_H
#define CUDA_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

void *stream_handle(const struct cuda_stream *stream);

// ---- Errors of streams' work

// Notes an error, which may be that of any work that is under way on the stream.
void stream_note_error(uint64_t stream_id, int error, const char *function);

// A point in a stream's work is marked. Returns what stream_error_since() takes. Until
// stream_forget_point() the stream's errors are kept for it, also where the stream is destroyed.
uint64_t stream_mark_point(uint64_t stream_id);
void stream_forget_point(uint64_t stream_id);

// The error that was noted since a point was marked, as a status with a message. Anybody who asks is
// told, and the stream itself tells it no more.
enum memory_status stream_error_since(uint64_t stream_id, double device_id, uint64_t mark);

// ---- Streams of threads that have ended

// Makes one of the owner's streams come after all that the others were given. False where it has none.
bool stream_join_owner(uint32_t owner, struct cuda_stream *joined);

// Releases the owner's streams, which others may use then: after what they were given before.
void stream_release_owner(uint32_t owner);

// ---- All streams

// Waits for all work of all GPUs that have had streams, so that nothing uses the memory that is given
// back next.
enum memory_status stream_synchronize_all(void);

// Gives all released streams back to CUDA.
enum memory_status stream_destroy_released(void);

#endif
