// Streams of threads that have ended.

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "cuda/borrowed_stream.h"
#include "cuda/cudart.h"
#include "cuda/known_stream.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "cuda/stream_order.h"

// Takes the owner's streams, as a list. No other thread uses or destroys them.
static struct known_stream *streams_of(uint32_t owner)
{
    struct known_stream *list = NULL;
    known_streams_lock();
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (known->is_released || known->is_destroyed || known->owner != owner) continue;
        known->next_like = list;
        list = known;
    }
    known_streams_unlock();
    return list;
}

// GPUs with streams that were destroyed before the wait for their work has succeeded.
static atomic_bool is_to_wait_for[DEVICE_COUNT_MAX];

static bool wait_for_device(int device)
{
    if (stream_synchronize_device(device) == MEMORY_OK || cuda_is_lost()) return true;
    is_to_wait_for[device] = true;
    return false;
}

static bool wait_for_destroyed(void)
{
    bool is_over = true;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (!atomic_exchange(&is_to_wait_for[device], false)) continue;
        (void)stream_destroy_released(); // those that could not be destroyed
        is_over &= wait_for_device(device);
    }
    return is_over;
}

// Waits for what cannot be put in order: the stream, or its device where the stream cannot be asked. An
// error of the work is noted, and the work is over. Where the thread has ended in the middle of a
// capture, nobody can end that any more but by destroying the stream, which goes on with its work.
static bool wait_for(const struct cuda_stream *stream, bool is_captured)
{
    if (is_captured) (void)cuda_stream_destroy(stream);
    else if (cuda_stream_synchronize(stream) == MEMORY_OK) return true;
    return wait_for_device((int)stream->device_id);
}

// A stream that the owner has borrowed may be gone, and must not be asked. All of its GPU's work tells of
// it too.
static bool wait_for_borrowed(uint32_t owner)
{
    bool has_borrowed[DEVICE_COUNT_MAX];
    borrowed_stream_find_devices(owner, has_borrowed);
    bool is_over = true;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (has_borrowed[device]) is_over &= wait_for_device(device);
    }
    return is_over;
}

bool stream_join_owner(uint32_t owner, struct cuda_stream *joined, bool *has_joined)
{
    *has_joined = false;
    if (!wait_for_destroyed()) return false;
    for (const struct known_stream *known = streams_of(owner), *next; known != NULL; known = next) {
        next = known->next_like; // which is another list's once the stream is destroyed
        const struct cuda_stream stream = known->stream;
        enum memory_status status =
            *has_joined ? stream_put_after(joined, &stream) : stream_check(&stream);
        if (status == MEMORY_OK && !*has_joined) *joined = stream;
        if (status == MEMORY_OK) *has_joined = true;
        else if (!wait_for(&stream, status == MEMORY_UNSUPPORTED)) return false;
    }
    return wait_for_borrowed(owner); // last, so that no capture of the owner's own is in the way
}
