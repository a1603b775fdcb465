// What the rest of the library needs of streams beyond what is exported.
#ifndef CUDA_STREAM_H
#define CUDA_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

void *stream_handle(const struct cuda_stream *stream);

// Keeps an error of the stream's work, which CUDA may tell only once, for whoever asks about the
// stream next on behalf of its owner. Only the first of several errors is kept, and none of a stream
// that was destroyed.
void stream_note_error(uint64_t stream_id, int error, const char *function);

// The error that was kept for the owner of the stream, as a status with a message. It is not kept
// any longer.
enum memory_status stream_take_noted_error(uint64_t stream_id, double device_id);

// Whether the stream is known to have done all its work. False where it was destroyed, too.
bool stream_is_idle(uint64_t stream_id);

// Waits for all work of all GPUs that have had streams, so that nothing uses the memory that is given
// back next.
enum memory_status stream_synchronize_all(void);

// Gives all released streams back to CUDA.
enum memory_status stream_destroy_released(void);

#endif
