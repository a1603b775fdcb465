#include "streams/capture.h"

#include <assert.h>
#include <stdlib.h>

#include "process/config.h"
#include "process/thread_state.h"
#include "streams/handle_table.h"

// The captures that have not ended.
static struct capture *captures;

// A graph is a handle without anything behind it.
static struct handle_table graphs;
static char graph_object;

// A number of the calling thread's own.
static uint64_t thread_number(void)
{
    static uint64_t last;
    if (thread_state.number == 0) thread_state.number = ++last;
    return thread_state.number;
}

void capture_keep(struct capture *capture)
{
    capture->reference_count++;
}

void capture_release(struct capture *capture)
{
    if (--capture->reference_count == 0) free(capture);
}

void capture_invalidate(struct capture *capture)
{
    capture->is_invalidated = true;
}

cudaError_t capture_begin(struct stream *stream, enum cudaStreamCaptureMode mode)
{
    if ((unsigned int)mode > cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
    if (stream->kind == STREAM_LEGACY) return cudaErrorStreamCaptureUnsupported;
    if (stream->capture != NULL) return cudaErrorIllegalState;
    struct capture *capture = calloc(1, sizeof *capture);
    if (capture == NULL) return cudaErrorMemoryAllocation;
    *capture = (struct capture){.origin = stream,
                                .mode = mode,
                                .thread = thread_number(),
                                .reference_count = 1,
                                .next = captures};
    captures = capture;
    stream->capture = capture;
    stream->captured_count = 0;
    stream->joined_count = 0;
    return cudaSuccess;
}

// Whether a stream that joined the capture has work that the origin does not wait for.
static bool has_unjoined_work(const struct capture *capture)
{
    for (int device = 0; device < config_get()->device_count; device++) {
        for (struct stream *s = streams_of_device(device); s != NULL; s = s->next) {
            bool has_joined = s->capture == capture && s != capture->origin;
            if (has_joined && s->captured_count > s->joined_count) return true;
        }
    }
    return false;
}

// Its streams are as before, and what was captured is gone.
static void finish(struct capture *capture)
{
    for (int device = 0; device < config_get()->device_count; device++) {
        for (struct stream *s = streams_of_device(device); s != NULL; s = s->next) {
            if (s->capture == capture) s->capture = NULL;
        }
    }
    struct capture **place = &captures;
    while (*place != capture) place = &(*place)->next;
    *place = capture->next;
    capture->origin = NULL;
    capture_release(capture);
}

cudaError_t capture_end(struct stream *stream, cudaGraph_t *graph)
{
    struct capture *capture = stream->capture;
    if (capture == NULL) return cudaErrorIllegalState;
    if (capture->origin != stream) {
        capture_invalidate(capture);
        return cudaErrorStreamCaptureUnmatched;
    }
    cudaError_t error = cudaSuccess;
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != thread_number()) {
        error = cudaErrorStreamCaptureWrongThread;
    } else if (capture->is_invalidated) {
        error = cudaErrorStreamCaptureInvalidated;
    } else if (has_unjoined_work(capture)) {
        error = cudaErrorStreamCaptureUnjoined;
    }
    finish(capture);
    *graph = error == cudaSuccess ? handle_table_add(&graphs, &graph_object) : NULL;
    return error == cudaSuccess && *graph == NULL ? cudaErrorMemoryAllocation : error;
}

void capture_abandon(struct stream *stream)
{
    struct capture *capture = stream->capture;
    if (capture == NULL) return;
    if (capture->origin == stream) finish(capture);
    else capture_invalidate(capture);
    stream->capture = NULL;
}

cudaError_t graph_destroy(cudaGraph_t graph)
{
    return handle_table_remove(&graphs, graph) == NULL ? cudaErrorInvalidValue : cudaSuccess;
}

cudaError_t capture_add(struct stream *stream)
{
    assert(stream->capture != NULL);
    if (stream->capture->is_invalidated) return cudaErrorStreamCaptureInvalidated;
    stream->captured_count++;
    return cudaSuccess;
}

cudaError_t capture_join(struct stream *stream, struct capture *capture, struct stream *recorded,
                         uint64_t captured_count)
{
    if (capture->origin == NULL) { // it has ended: there is nothing to wait for any more
        if (stream->capture != NULL) capture_invalidate(stream->capture);
        return cudaErrorInvalidValue;
    }
    if (stream->kind == STREAM_LEGACY) {
        capture_invalidate(capture);
        return cudaErrorStreamCaptureImplicit;
    }
    if (stream->capture != NULL && stream->capture != capture) {
        capture_invalidate(capture);
        capture_invalidate(stream->capture);
        return cudaErrorStreamCaptureMerge;
    }
    if (capture->is_invalidated) return cudaErrorStreamCaptureInvalidated;
    if (stream->capture == NULL) {
        stream->capture = capture;
        stream->captured_count = 0;
        stream->joined_count = 0;
    } else if (recorded != stream && recorded != capture->origin &&
               captured_count > recorded->joined_count) {
        recorded->joined_count = captured_count;
        // Whoever waits for this stream waits for what it has joined, too.
        stream->captured_count++;
    }
    return cudaSuccess;
}

cudaError_t capture_check_legacy(const struct stream *stream, bool invalidates)
{
    if (captures == NULL || stream->kind != STREAM_LEGACY) return cudaSuccess;
    cudaError_t error = cudaSuccess;
    for (struct stream *s = streams_of_device(stream->device); s != NULL; s = s->next) {
        if (s->capture == NULL || s->kind != STREAM_BLOCKING) continue;
        if (invalidates) capture_invalidate(s->capture);
        error = cudaErrorStreamCaptureImplicit;
    }
    return error;
}

// Whether the capture prohibits the calling thread from potentially unsafe calls.
static bool is_prohibiting(const struct capture *capture)
{
    switch (thread_state.capture_mode) {
    case cudaStreamCaptureModeGlobal:
        if (capture->mode == cudaStreamCaptureModeGlobal) return true;
        break;
    case cudaStreamCaptureModeThreadLocal:
        break;
    case cudaStreamCaptureModeRelaxed:
        return false;
    }
    return capture->mode != cudaStreamCaptureModeRelaxed && capture->thread == thread_number();
}

cudaError_t capture_check_unsafe(void)
{
    cudaError_t error = cudaSuccess;
    for (struct capture *capture = captures; capture != NULL; capture = capture->next) {
        if (!is_prohibiting(capture)) continue;
        capture_invalidate(capture);
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error;
}

cudaError_t capture_check_waiting(const struct stream *stream)
{
    cudaError_t error = capture_check_legacy(stream, true);
    if (error != cudaSuccess) return error;
    if (stream->capture == NULL) return capture_check_unsafe();
    capture_invalidate(stream->capture);
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t capture_check_device(int device)
{
    cudaError_t error = capture_check_unsafe();
    if (captures == NULL) return error;
    for (struct stream *s = streams_of_device(device); s != NULL; s = s->next) {
        if (s->capture == NULL) continue;
        capture_invalidate(s->capture);
        error = cudaErrorStreamCaptureUnsupported;
    }
    return error;
}
