#include "memory/byte_copy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

enum {
    // The C library's copy by one thread is the fastest below this size.
    LARGE_BYTE_SIZE = 256 * 1024,
    // How much a thread copies at a time. It is little, so that neither waits long for the other at
    // the end.
    SHARE_BYTE_SIZE = 64 * 1024,
};

// Copies between ranges that do not overlap.
typedef void (*copy_function)(char *target, const char *source, size_t byte_size);

// ---- Ways to copy

static void copy_to_be_read(char *target, const char *source, size_t byte_size)
{
#if defined(__x86_64__)
    // The processor's own copy into pinned memory is between an eighth and a third faster than
    // memcpy(), which keeps to its loops until the size is close to the cache's.
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(byte_size) : : "memory");
#else
    memcpy(target, source, byte_size);
#endif
}

static void copy_past_caches(char *target, const char *source, size_t byte_size)
{
#if defined(__x86_64__)
    // An ordinary store first reads the line that it is going to overwrite, which is half as much
    // traffic again.
    size_t i = -(uintptr_t)target % 64;
    if (i > byte_size) i = byte_size;
    memcpy(target, source, i);
    for (; i + 64 <= byte_size; i += 64) {
        for (size_t part = i; part < i + 64; part += sizeof(__m128i)) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(source + part));
            _mm_stream_si128((__m128i *)(void *)(target + part), bytes);
        }
    }
    memcpy(target + i, source + i, byte_size - i);
    _mm_sfence(); // such stores are not ordered with others
#else
    memcpy(target, source, byte_size);
#endif
}

// ---- Two threads for one copy
//
// One thread does not use up what memory can do: two copy nearly twice as fast. The other is a
// thread of this file's, one for the process. Both take shares until there are none; so the caller
// never waits for more than a share, and does all of the work where the helper is not there in time.

struct job {
    copy_function copy;
    char *target;
    const char *source;
    size_t byte_size;
    _Atomic size_t taken_byte_size;
};

static pthread_mutex_t use_lock = PTHREAD_MUTEX_INITIALIZER; // held by the copy that has the helper

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // guards the three that follow
static pthread_cond_t has_changed = PTHREAD_COND_INITIALIZER;
static struct job *offered_job;
static bool is_helping;

static void take_shares(struct job *job)
{
    for (;;) {
        size_t offset =
            atomic_fetch_add_explicit(&job->taken_byte_size, SHARE_BYTE_SIZE, memory_order_relaxed);
        if (offset >= job->byte_size) return;
        size_t rest = job->byte_size - offset;
        job->copy(job->target + offset, job->source + offset,
                  rest < SHARE_BYTE_SIZE ? rest : SHARE_BYTE_SIZE);
    }
}

static void *help(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (offered_job == NULL) pthread_cond_wait(&has_changed, &lock);
        struct job *job = offered_job;
        offered_job = NULL;
        is_helping = true;
        pthread_mutex_unlock(&lock);
        take_shares(job);
        pthread_mutex_lock(&lock);
        is_helping = false;
        pthread_cond_broadcast(&has_changed);
    }
    return NULL;
}

static bool has_helper;

static void start_helper(void)
{
    pthread_t thread;
    has_helper = pthread_create(&thread, NULL, help, NULL) == 0;
    if (has_helper) pthread_detach(thread);
}

static void share(struct job *job)
{
    pthread_mutex_lock(&lock);
    offered_job = job;
    pthread_cond_broadcast(&has_changed);
    pthread_mutex_unlock(&lock);
    take_shares(job);
    pthread_mutex_lock(&lock);
    offered_job = NULL;
    while (is_helping) pthread_cond_wait(&has_changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void copy_apart(copy_function copy, char *target, const char *source, size_t byte_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_helper);
    if (!has_helper || pthread_mutex_trylock(&use_lock) != 0) {
        copy(target, source, byte_size);
        return;
    }
    struct job job = {.copy = copy, .target = target, .source = source, .byte_size = byte_size};
    share(&job);
    pthread_mutex_unlock(&use_lock);
}

static void copy_with(copy_function copy, char *target, const char *source, size_t byte_size)
{
    bool is_apart = target + byte_size <= source || source + byte_size <= target;
    if (byte_size < LARGE_BYTE_SIZE || !is_apart) {
        memmove(target, source, byte_size);
    } else {
        copy_apart(copy, target, source, byte_size);
    }
}

void byte_copy_in(void *target, const void *source, size_t byte_size)
{
    copy_with(copy_to_be_read, target, source, byte_size);
}

void byte_copy_out(void *target, const void *source, size_t byte_size)
{
    copy_with(copy_past_caches, target, source, byte_size);
}
