// Stream capture: what is queued on a stream that is being captured is not performed, but would become
// a graph. The simulator keeps no graph's work, because none is launched here.
//
// A stream joins a capture by waiting for an event that was recorded in it. What CUDA documents as
// potentially unsafe is refused while a capture prohibits it, and ends that capture's validity.
//
// The caller of a function here holds the lock of stream.h.
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdbool.h>

#include "cudart_abi.h"
#include "streams/stream.h"

struct capture {
    struct stream *origin; // NULL once the capture has ended
    enum cudaStreamCaptureMode mode;
    uint64_t thread; // that began it
    bool is_invalidated;
    // The origin holds one reference while the capture goes on, and each record of an event one.
    size_t reference_count;
    struct capture *next;
};

void capture_keep(struct capture *capture);
void capture_release(struct capture *capture);

cudaError_t capture_begin(struct stream *stream, enum cudaStreamCaptureMode mode);

// Ends the stream's capture. The graph is NULL where the result is an error.
cudaError_t capture_end(struct stream *stream, cudaGraph_t *graph);

// Ends the stream's capture because the stream is destroyed. It may have none.
void capture_abandon(struct stream *stream);

// cudaErrorInvalidValue where there is no such graph.
cudaError_t graph_destroy(cudaGraph_t graph);

void capture_invalidate(struct capture *capture);

// Counts an operation that the capturing stream would queue.
cudaError_t capture_add(struct stream *stream);

// Makes a stream wait for what another had captured when its count was captured_count.
cudaError_t capture_join(struct stream *stream, struct capture *capture, struct stream *recorded,
                         uint64_t captured_count);

// cudaErrorStreamCaptureImplicit where the stream is a legacy default stream and a blocking stream of
// its device is being captured.
cudaError_t capture_check_legacy(const struct stream *stream, bool invalidates);

// cudaErrorStreamCaptureUnsupported where a capture prohibits the thread from potentially unsafe
// calls.
cudaError_t capture_check_unsafe(void);

// The same for a call that waits for the stream, or asks whether it is done.
cudaError_t capture_check_waiting(const struct stream *stream);

// The same for a call that waits for the device.
cudaError_t capture_check_device(int device);

#endif
