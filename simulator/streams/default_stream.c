#include "streams/default_stream.h"

#include <stdlib.h>

#include "process/config.h"
#include "process/library_pin.h"
#include "streams/capture.h"

static struct stream *legacy_streams[DEVICE_COUNT_MAX];

// A thread's own default streams by device, NULL where it has used none.
struct thread_streams {
    struct stream *streams[DEVICE_COUNT_MAX];
};
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static bool has_thread_key;

// The stream at the place, which is made if there is none yet.
static struct stream *ensure_stream(struct stream **place, int device, enum stream_kind kind)
{
    if (*place == NULL) *place = stream_new(device, kind);
    return *place;
}

struct stream *legacy_default_stream(int device)
{
    return ensure_stream(&legacy_streams[device], device, STREAM_LEGACY);
}

// Called without the lock when a thread ends that has used default streams of its own.
static void close_thread_streams(void *value)
{
    struct thread_streams *own = value;
    streams_lock();
    for (int device = 0; device < DEVICE_COUNT_MAX; device++) {
        struct stream *stream = own->streams[device];
        if (stream == NULL) continue;
        capture_abandon(stream);
        stream_close(stream);
    }
    streams_unlock();
    free(own);
}

static void create_thread_key(void)
{
    library_pin();
    has_thread_key = pthread_key_create(&thread_key, close_thread_streams) == 0;
}

// NULL when there is no memory.
static struct thread_streams *thread_streams(void)
{
    pthread_once(&thread_key_once, create_thread_key);
    if (!has_thread_key) return NULL;
    struct thread_streams *own = pthread_getspecific(thread_key);
    if (own == NULL) {
        own = calloc(1, sizeof *own);
        if (own != NULL && pthread_setspecific(thread_key, own) != 0) {
            free(own);
            return NULL;
        }
    }
    return own;
}

struct stream *thread_default_stream(int device)
{
    struct thread_streams *own = thread_streams();
    return own == NULL ? NULL : ensure_stream(&own->streams[device], device, STREAM_BLOCKING);
}
