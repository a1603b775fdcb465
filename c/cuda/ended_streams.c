// Streams of threads that have ended.

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/borrowed_stream.h"
#include "cuda/cudart.h"
#include "cuda/device_wait.h"
#include "cuda/known_stream.h"
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

// ---- Work that no stream tells of any more

// That all work is waited for that a GPU was given before, since some of it is the owner's. An owner whose thread
// has ended gives no more, so one wait is enough for each of its GPUs. It is known until all that the
// owner held was given back, or it would be begun again each time that somebody looks.
struct owner_wait {
    struct owner_wait *next;
    uint32_t owner;
    int device;
    uint64_t wait; // device_wait.h
};

// Guards the list. One thread at a time cleans up after an owner, and uses and forgets its waits.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct owner_wait *owner_waits;

static struct owner_wait *find_wait(uint32_t owner, int device)
{
    pthread_mutex_lock(&lock);
    struct owner_wait *wait = owner_waits;
    while (wait != NULL && (wait->owner != owner || wait->device != device)) wait = wait->next;
    pthread_mutex_unlock(&lock);
    return wait;
}

// False where the system refuses memory.
static bool make_wait(uint32_t owner, int device)
{
    if (find_wait(owner, device) != NULL) return true;
    struct owner_wait *wait = malloc(sizeof *wait);
    if (wait == NULL) return false;
    *wait = (struct owner_wait){.owner = owner, .device = device, .wait = device_wait_new(device)};
    pthread_mutex_lock(&lock);
    wait->next = owner_waits;
    owner_waits = wait;
    pthread_mutex_unlock(&lock);
    return true;
}

static bool is_over(const struct owner_wait *wait, bool may_wait)
{
    return may_wait ? device_wait_finish(wait->device, wait->wait)
                    : device_wait_is_over(wait->device, wait->wait);
}

void stream_forget_waits(uint32_t owner)
{
    pthread_mutex_lock(&lock);
    for (struct owner_wait **link = &owner_waits, *wait; (wait = *link) != NULL;) {
        if (wait->owner != owner) {
            link = &wait->next;
        } else {
            *link = wait->next;
            free(wait);
        }
    }
    pthread_mutex_unlock(&lock);
}

// Where the thread has ended in the middle of a capture, nobody can end that any more but by destroying the
// stream, which goes on with its work. No event and no question can tell of that: while the stream is
// captured it answers none, and afterwards it is gone. False where the system refuses memory.
static bool end_captures(uint32_t owner)
{
    for (const struct known_stream *known = streams_of(owner), *next; known != NULL; known = next) {
        next = known->next_like; // which is another list's once the stream is destroyed
        const struct cuda_stream stream = known->stream;
        if (stream_check(&stream) != MEMORY_UNSUPPORTED) continue;
        if (!make_wait(owner, (int)stream.device_id)) return false;
        (void)cuda_stream_destroy(&stream);
    }
    return true;
}

// A stream that the owner has borrowed may be gone, and must not be asked. All of its GPU's work tells of
// it too.
static bool make_waits_for_borrowed(uint32_t owner)
{
    bool has_borrowed[DEVICE_COUNT_MAX];
    borrowed_stream_find_devices(owner, has_borrowed);
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        if (has_borrowed[device] && !make_wait(owner, device)) return false;
    }
    return true;
}

static bool all_waits_are_over(uint32_t owner, bool may_wait)
{
    bool are_over = true;
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        const struct owner_wait *wait = find_wait(owner, device);
        // Each GPU's is begun, so that all are waited for at once.
        if (wait != NULL && !is_over(wait, may_wait)) are_over = false;
    }
    // A captured stream that could not be destroyed would be in the way of the next wait.
    if (!are_over) (void)stream_destroy_released();
    return are_over;
}

// ---- Joining

// Whether a stream that cannot be put in order has done its work, or where it cannot be asked, its GPU.
static bool is_done(uint32_t owner, const struct cuda_stream *stream, bool may_wait)
{
    int device = (int)stream->device_id;
    switch (may_wait ? cuda_stream_synchronize(stream) : cuda_stream_query(stream)) {
    case MEMORY_OK:
        return true;
    case MEMORY_NOT_DONE:
        return false;
    default: // an error of the work is noted, and the work is over
        return make_wait(owner, device) && is_over(find_wait(owner, device), may_wait);
    }
}

bool stream_join_owner(uint32_t owner, bool may_wait, struct cuda_stream *joined, bool *has_joined)
{
    *has_joined = false;
    // The captures end first, or they would be in the way of the waits.
    if (!end_captures(owner) || !make_waits_for_borrowed(owner)) return false;
    if (!all_waits_are_over(owner, may_wait)) return false;
    for (const struct known_stream *known = streams_of(owner); known != NULL;
         known = known->next_like) {
        const struct cuda_stream stream = known->stream;
        enum memory_status status =
            *has_joined ? stream_put_after(joined, &stream) : stream_check(&stream);
        if (status == MEMORY_OK && !*has_joined) *joined = stream;
        if (status == MEMORY_OK) *has_joined = true;
        else if (!is_done(owner, &stream, may_wait)) return false;
    }
    return true;
}
