// What the rest of the library needs of streams beyond what is exported.
#ifndef CUDA_STREAM_H
#define CUDA_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

void *stream_handle(const struct cuda_stream *stream);

// ---- Streams that are captured into CUDA graphs
//
// What would be queued on such a stream would become part of the graph, and what asks about it makes
// the capture useless.

// MEMORY_UNSUPPORTED, with a message, where the stream is being captured. Any other failure is noted as
// one of the stream's work too, by the first. The second is for callers in the scope of the device,
// and says with which error CUDA could not tell, or 0.
enum memory_status stream_check(const struct cuda_stream *stream);
enum memory_status stream_check_in_scope(const struct cuda_stream *stream, int *error);

// As cuda_refuse_as_lost(), of work on a stream of that GPU.
enum memory_status stream_refuse_as_lost(double device_id);

// ---- Work of streams, whoever's they are

// Whether the stream is known to have done all its work. False where it was destroyed or is borrowed, too.
// An error is noted.
bool stream_is_idle(uint64_t stream_id);

// Notes an error of the stream's work for whoever waits for that.
void stream_note_error(uint64_t stream_id, int error, const char *function);

// ---- Streams of threads that have ended

// Makes one of the owner's streams come after all that the others were given. Work of those of which this
// cannot be had, that of captured streams, which are destroyed, and of GPUs of which the owner has borrowed
// streams must be over. `*has_joined` is false where no stream is left whose work is not over. Returns false
// where some of that is not over yet, or CUDA cannot tell; unless the caller may wait, it does not. What is to
// be waited for is waited for afterwards, so the answer is another one later.
bool stream_join_owner(uint32_t owner, bool may_wait, struct cuda_stream *joined, bool *has_joined);

// Forgets what was waited for, when all that the owner held is given back.
void stream_forget_waits(uint32_t owner);

// Releases the owner's streams, which others may use then: after what they were given before.
void stream_release_owner(uint32_t owner);

// ---- All streams

// Waits for all work of a GPU, or of all GPUs that have had streams, so that nothing uses the memory
// that is given back next. MEMORY_UNSUPPORTED where a stream is being captured, which stays valid.
enum memory_status stream_synchronize_device(int device);
enum memory_status stream_synchronize_all(void);

// Gives all released streams back to CUDA.
enum memory_status stream_destroy_released(void);

#endif
