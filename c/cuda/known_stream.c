#include "cuda/known_stream.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "owner.h"
#include "whole_number.h"

enum { BUCKET_COUNT = 4096 };

// Guards everything but the counts of who asks.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_id;
static struct known_stream *buckets[BUCKET_COUNT]; // by id
static bool has_had_streams[DEVICE_COUNT_MAX];

// The entries of each default stream: one that is borrowed, and others that were and are in use. Whether there
// is one is also looked at without the lock.
static struct known_stream *_Atomic default_streams[DEVICE_COUNT_MAX];

static _Atomic uint64_t device_asking_counts[DEVICE_COUNT_MAX];

void known_streams_lock(void)
{
    pthread_mutex_lock(&lock);
}

void known_streams_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

// ---- Under the lock

static uint64_t id_of(const struct known_stream *known)
{
    return whole_number(known->stream.id);
}

void known_stream_add(struct known_stream *known, void *handle, int device)
{
    struct known_stream **bucket = &buckets[++last_id % BUCKET_COUNT];
    *known = (struct known_stream){.next = *bucket,
                                   .stream = {.handle = (double)(uintptr_t)handle,
                                              .device_id = device,
                                              .id = from_whole_number(last_id)},
                                   .owner = owner_of_thread()};
    *bucket = known;
    has_had_streams[device] = true;
}

void known_stream_set_default(struct known_stream *known)
{
    int device = (int)known->stream.device_id;
    known->is_default = true;
    known->next_like = default_streams[device];
    default_streams[device] = known;
}

static void forget_default(const struct known_stream *known)
{
    int device = (int)known->stream.device_id;
    struct known_stream *previous = default_streams[device];
    if (previous == known) {
        default_streams[device] = known->next_like;
        return;
    }
    while (previous->next_like != known) previous = previous->next_like;
    previous->next_like = known->next_like;
}

bool known_streams_have_been_on(int device)
{
    return has_had_streams[device];
}

struct known_stream *known_stream_find(uint64_t id)
{
    struct known_stream *known = buckets[id % BUCKET_COUNT];
    while (known != NULL && id_of(known) != id) known = known->next;
    return known;
}

struct known_stream *known_stream_next(const struct known_stream *known)
{
    if (known != NULL && known->next != NULL) return known->next;
    for (uint64_t i = known == NULL ? 0 : id_of(known) % BUCKET_COUNT + 1; i < BUCKET_COUNT; i++) {
        if (buckets[i] != NULL) return buckets[i];
    }
    return NULL;
}

void known_stream_acquire(struct known_stream *known)
{
    if (known != NULL) known->use_count++;
}

void known_stream_release(struct known_stream *known)
{
    if (known == NULL) return;
    assert(known->use_count > 0);
    if (--known->use_count > 0 || !known->is_destroyed) return;
    struct known_stream **link = &buckets[id_of(known) % BUCKET_COUNT];
    while (*link != known) link = &(*link)->next;
    *link = known->next;
    if (known->is_default) forget_default(known);
    free(known);
}

void known_stream_note(struct known_stream *known, int error, const char *function)
{
    known->error = error;
    known->function = function;
    known->error_count++;
}

// ---- Asking

void known_stream_begin_asking(struct known_stream *known)
{
    if (known != NULL) atomic_fetch_add(&known->asking_count, 1);
}

void known_stream_end_asking(struct known_stream *known, int error, const char *function)
{
    bool is_error = error != 0 && error != CUDA_ERROR_NOT_READY;
    if (is_error) cudart_note_error(error, function);
    if (known == NULL) return;
    if (is_error) {
        known_streams_lock();
        known_stream_note(known, error, function);
        known_streams_unlock();
    }
    atomic_fetch_sub(&known->asking_count, 1);
}

// The entries stay in the list meanwhile. Those that are added come before them.
struct known_stream *known_default_stream_begin_asking(int device)
{
    if (default_streams[device] == NULL) return NULL;
    known_streams_lock();
    struct known_stream *first = default_streams[device];
    for (struct known_stream *known = first; known != NULL; known = known->next_like) {
        known_stream_acquire(known);
        known_stream_begin_asking(known);
    }
    known_streams_unlock();
    return first;
}

void known_default_stream_end_asking(struct known_stream *first, int error, const char *function)
{
    // A call that was refused because another stream is being captured has come upon nothing.
    if (error == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) error = 0;
    struct known_stream *next;
    for (struct known_stream *known = first; known != NULL; known = next) {
        known_stream_end_asking(known, error, function);
        known_streams_lock();
        next = known->next_like;
        known_stream_release(known);
        known_streams_unlock();
    }
}

void known_streams_begin_asking(int device)
{
    atomic_fetch_add(&device_asking_counts[device], 1);
}

void known_streams_end_asking(int device)
{
    atomic_fetch_sub(&device_asking_counts[device], 1);
}

bool known_stream_is_asked(const struct known_stream *known)
{
    if (known == NULL) return false;
    return known->asking_count > 0 || device_asking_counts[(int)known->stream.device_id] > 0;
}

// ---- Points

struct known_stream *known_stream_mark_point(uint64_t id, uint64_t *mark)
{
    known_streams_lock();
    struct known_stream *known = known_stream_find(id);
    known_stream_acquire(known);
    *mark = known == NULL ? 0 : known->error_count;
    known_streams_unlock();
    return known;
}

void known_stream_forget_point(struct known_stream *known)
{
    known_streams_lock();
    known_stream_release(known);
    known_streams_unlock();
}

// ---- Errors

static enum memory_status error_after(struct known_stream *known, const uint64_t *mark)
{
    if (known == NULL) return MEMORY_OK;
    known_streams_lock();
    bool has_error = known->error_count != (mark == NULL ? known->told_count : *mark);
    int error = has_error ? known->error : 0;
    const char *function = known->function;
    if (has_error) known->told_count = known->error_count;
    known_streams_unlock();
    return cudart_check(error, function, "work on a stream of GPU %.0f", known->stream.device_id);
}

enum memory_status known_stream_error_since(struct known_stream *known, uint64_t mark)
{
    return error_after(known, &mark);
}

enum memory_status known_stream_take_error(struct known_stream *known)
{
    return error_after(known, NULL);
}
