// The order between streams.
#ifndef CUDA_STREAM_ORDER_H
#define CUDA_STREAM_ORDER_H

#include "bun_cuda_memory.h"

// Makes what the stream is given from now on come after what the other was given so far. The caller does
// not wait. MEMORY_UNSUPPORTED where either is being captured.
enum memory_status stream_put_after(const struct cuda_stream *stream,
                                    const struct cuda_stream *other);

#endif
