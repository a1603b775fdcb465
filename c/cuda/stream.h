// What streams offer their neighbours in this library.
#ifndef CUDA_STREAM_H
#define CUDA_STREAM_H

#include <stdint.h>

#include "bun_cuda_memory.h"

void *cuda_stream_handle(const struct memory_stream *stream);

// Keeps an error of the stream's work, which CUDA may tell only once, for whoever asks about the
// stream next on behalf of its owner. Of several the first is kept, and none of a stream that is
// destroyed.
void cuda_stream_note(uint64_t stream_id, int error, const char *function);

// What was kept for the owner of the stream, as a status with a message.
int32_t cuda_stream_check_noted(uint64_t stream_id, double device_id);

// Waits for all work on all GPUs that have had streams, so that nothing uses what is given back.
int32_t cuda_stream_wait_for_all(void);

// Gives the streams back to CUDA that nobody has taken.
int32_t cuda_stream_destroy_idle(void);

#endif
