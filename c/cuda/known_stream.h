// What is known of each stream: whose it is, and which errors of its work were found.
//
// CUDA tells an error of a stream's work once, to whoever asks first. So whoever asks says so before
// and after, and notes here what was found. Every point in the stream's work that was marked before
// and was not seen passed then (an event) answers with it, whoever asked first, and so does the stream
// itself, once. An answer that another may have been given an error instead of is no answer yet:
// known_stream_is_asked().
#ifndef KNOWN_STREAM_H
#define KNOWN_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

// A stream that was created or borrowed, until it is destroyed or returned and nobody waits for its work
// any more. The place for its error is here, so that no error is lost for lack of memory.
struct known_stream {
    struct known_stream *next;      // in its bucket
    struct known_stream *next_like; // in the list of those that are released, or the default stream
    struct cuda_stream stream;
    uint32_t owner; // while it is not released; OWNER_PROCESS for one that is borrowed
    bool is_released;
    bool is_borrowed; // borrowed_stream.h
    bool is_default;  // it is the legacy default stream of its device
    struct stream_borrower *borrowers;
    bool is_destroyed;  // its handle is not used any more
    bool is_under_way;  // when somebody began to wait for its whole device
    uint64_t use_count; // of points that are marked, and of others that use this entry
    _Atomic uint64_t asking_count;
    // The last error, the function that returned it, how many there were, and how many of them the
    // stream has told.
    int error;
    const char *function;
    uint64_t error_count, told_count;
};

// The lock is held for moments, and for questions that CUDA answers at once about a stream that is not
// destroyed: a stream is marked as destroyed before it is.
void known_streams_lock(void);
void known_streams_unlock(void);

// ---- Under the lock

// Makes a stream known, with an id that no other has had.
void known_stream_add(struct known_stream *known, void *handle, int device);

// The stream, which was added last, is the legacy default stream of its device.
void known_stream_set_default(struct known_stream *known);

// Whether a stream of the device has ever been known.
bool known_streams_have_been_on(int device);

// Null where the stream is not known.
struct known_stream *known_stream_find(uint64_t id);

// The next after one of them, or the first after null.
struct known_stream *known_stream_next(const struct known_stream *known);

// An entry that is used stays, also where its stream is destroyed. Null is allowed.
void known_stream_acquire(struct known_stream *known);
void known_stream_release(struct known_stream *known);

// Notes an error of the stream's work. cudart_note_error() has taken note of it before.
void known_stream_note(struct known_stream *known, int error, const char *function);

// ---- Asking, without the lock. The entry is null where the stream is not known.

void known_stream_begin_asking(struct known_stream *known);
// Notes what CUDA has answered, unless that is no error.
void known_stream_end_asking(struct known_stream *known, int error, const char *function);

// The same for questions about all of a device's work. What is found is noted before the end.
void known_streams_begin_asking(int device);
void known_streams_end_asking(int device);

// The same for calls that name no stream, and work on the default stream of a device: CUDA may answer them
// with an error of what was queued there. The first returns what the second takes.
struct known_stream *known_default_stream_begin_asking(int device);
void known_default_stream_end_asking(struct known_stream *first, int error, const char *function);

// Whether somebody else has asked and not noted the answer yet. It is read before the errors are.
bool known_stream_is_asked(const struct known_stream *known);

// ---- Points, without the lock

// Marks a point in a stream's work, until known_stream_forget_point(). `*mark` is what
// known_stream_error_since() takes.
struct known_stream *known_stream_mark_point(uint64_t id, uint64_t *mark);
void known_stream_forget_point(struct known_stream *known);

// ---- Errors as a status with a message, without the lock

// The last error that was noted since a point was marked. The stream itself tells it no more.
enum memory_status known_stream_error_since(struct known_stream *known, uint64_t mark);

// The last error that was noted since the stream has told one.
enum memory_status known_stream_take_error(struct known_stream *known);

#endif
