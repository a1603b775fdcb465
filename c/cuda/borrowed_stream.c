#include "cuda/borrowed_stream.h"

#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

// The legacy default stream has two handles, of which it is known by the first. The default stream of each
// thread has one.
enum { LEGACY_HANDLE = 0, OTHER_LEGACY_HANDLE = 1, PER_THREAD_HANDLE = 2 };

struct stream_borrower {
    struct stream_borrower *next;
    uint32_t owner;
    uint64_t count; // how often it has borrowed the stream and not returned it
};

// ---- Under the lock of known_stream.h

static struct known_stream *find_borrowed(double handle, int device)
{
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (known->is_borrowed && !known->is_destroyed && known->stream.handle == handle &&
            (int)known->stream.device_id == device) {
            return known;
        }
    }
    return NULL;
}

static struct stream_borrower **find_borrower(struct known_stream *known, uint32_t owner)
{
    struct stream_borrower **place = &known->borrowers;
    while (*place != NULL && (*place)->owner != owner) place = &(*place)->next;
    return place;
}

// Takes over what it uses of the two that were allocated, and sets that to null.
static struct known_stream *borrow(double handle, int device, struct known_stream **spare,
                                   struct stream_borrower **spare_borrower)
{
    struct known_stream *known = find_borrowed(handle, device);
    if (known == NULL) {
        known = *spare;
        *spare = NULL;
        known_stream_add(known, (void *)(uintptr_t)handle, device);
        known->owner = OWNER_PROCESS;
        known->is_borrowed = true;
        if (handle == LEGACY_HANDLE) known_stream_set_default(known);
    }
    struct stream_borrower **place = find_borrower(known, owner_of_thread());
    if (*place == NULL) {
        *place = *spare_borrower;
        *spare_borrower = NULL;
        **place = (struct stream_borrower){.owner = owner_of_thread()};
    }
    (*place)->count++;
    return known;
}

static void end_borrower(struct known_stream *known, struct stream_borrower **place)
{
    struct stream_borrower *borrower = *place;
    *place = borrower->next;
    free(borrower);
    if (known->borrowers != NULL) return;
    known->is_destroyed = true;
    known_stream_acquire(known); // it goes with its last use, which this may be
    known_stream_release(known);
}

void borrowed_stream_return(struct known_stream *known)
{
    struct stream_borrower **place = find_borrower(known, owner_of_thread());
    if (*place != NULL && --(*place)->count == 0) end_borrower(known, place);
}

// ---- Without the lock

enum memory_status borrowed_stream_borrow(struct cuda_stream *stream, double handle,
                                          double device_id)
{
    message_clear();
    if (!cudart_is_bound() || device_id >= DEVICE_COUNT_MAX) {
        return message_set(MEMORY_UNAVAILABLE, "failed to use a stream of GPU %.0f: %s", device_id,
                           cudart_is_bound() ? "no GPU beyond the 128th can be used"
                                             : "there is no CUDA runtime");
    }
    if (cuda_is_lost()) return cuda_refuse_as_lost("use a stream of GPU %.0f", device_id);
    if (handle == PER_THREAD_HANDLE) {
        return message_set(MEMORY_UNSUPPORTED,
                           "failed to use a stream of GPU %.0f: handle 2 is the default stream of "
                           "each thread, another one in every thread",
                           device_id);
    }
    struct known_stream *known = malloc(sizeof *known);
    struct stream_borrower *borrower = malloc(sizeof *borrower);
    enum memory_status status = MEMORY_OK;
    if (known != NULL && borrower != NULL) {
        known_streams_lock();
        *stream = borrow(handle == OTHER_LEGACY_HANDLE ? LEGACY_HANDLE : handle, (int)device_id,
                         &known, &borrower)
                      ->stream;
        known_streams_unlock();
        stream->handle = handle;
    } else {
        status =
            message_set(MEMORY_INTERNAL,
                        "failed to use a stream of GPU %.0f: the system refuses memory", device_id);
    }
    free(known);
    free(borrower);
    return status;
}

bool stream_is_borrowed(uint64_t stream_id)
{
    known_streams_lock();
    const struct known_stream *known = known_stream_find(stream_id);
    bool is_borrowed = known != NULL && known->is_borrowed;
    known_streams_unlock();
    return is_borrowed;
}

void borrowed_stream_return_all(uint32_t owner)
{
    known_streams_lock();
    struct known_stream *next;
    for (struct known_stream *known = known_stream_next(NULL); known != NULL; known = next) {
        next = known_stream_next(known); // which may be gone afterwards
        struct stream_borrower **place = find_borrower(known, owner);
        if (*place != NULL) end_borrower(known, place);
    }
    known_streams_unlock();
}

void borrowed_stream_find_devices(uint32_t owner, bool *has_borrowed)
{
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) has_borrowed[device] = false;
    known_streams_lock();
    for (struct known_stream *known = NULL; (known = known_stream_next(known)) != NULL;) {
        if (*find_borrower(known, owner) != NULL) has_borrowed[(int)known->stream.device_id] = true;
    }
    known_streams_unlock();
}
