// Errors of streams' work, which CUDA tells once, to whoever asks first: all whose work was under way
// are told, and nobody else.

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cuda/known_stream.h"
#include "cuda/stream.h"
#include "cudart_sim.h"
#include "stream_fixture.h"
#include "whole_number.h"

enum { CUDA_ERROR_UNKNOWN = 999 };

// A copy on stream 0 that fails, and an event after it.
static double failing_work(struct memory_allocation *target, struct memory_allocation *source)
{
    CHECK(cudartSimFailOperation(1, CUDA_ERROR_UNKNOWN) == 0, "no such error");
    enum memory_status status = allocated_memory_copy(target, 0, source, 0, 64, &streams[0]);
    CHECK(status == MEMORY_QUEUED, "%d, %s", status, memory_message());
    double event = cuda_event_record(&streams[0]);
    CHECK(event > 0, "%s", memory_message());
    return event;
}

// Who asks first, and is told by CUDA.
enum first {
    FIRST_QUERY,
    FIRST_SYNCHRONIZE,
    FIRST_OTHER_EVENT,
    FIRST_DEVICE,
    FIRST_IDLE,
    FIRST_COUNT
};

static void ask_first(enum first first)
{
    double event;
    switch (first) {
    case FIRST_QUERY:
        while (cuda_stream_query(&streams[0]) == MEMORY_NOT_DONE) continue;
        break;
    case FIRST_SYNCHRONIZE:
        CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_INTERNAL, "the first is told");
        break;
    case FIRST_OTHER_EVENT:
        event = cuda_event_record(&streams[0]);
        while (cuda_event_query(event) == MEMORY_NOT_DONE) continue;
        cuda_event_release(event);
        break;
    case FIRST_DEVICE:
        (void)stream_synchronize_all();
        break;
    default:
        while (!stream_is_idle(whole_number(streams[0].id))) continue;
        break;
    }
}

static void whoever_asks_first(void)
{
    set_up();
    struct memory_allocation target = alloc_now(64), source = alloc_now(64);
    for (enum first first = 0; first < FIRST_COUNT; first++) {
        double other_work = cuda_event_record(&streams[1]);
        CHECK(cuda_stream_synchronize(&streams[1]) == MEMORY_OK, "%s", memory_message());
        hold_stream(&streams[0], &holds[0]);
        double event = failing_work(&target, &source);
        release_stream(&holds[0]);
        ask_first(first);
        enum memory_status status;
        while ((status = cuda_event_query(event)) == MEMORY_NOT_DONE) continue;
        CHECK(status == MEMORY_INTERNAL, "%d: who waits for the work is told: %d", first, status);
        CHECK(strstr(memory_message(), "cudaErrorUnknown") != NULL, "%s", memory_message());
        CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_OK, "%d: and the stream no more",
              first);
        double later = cuda_event_record(&streams[0]);
        CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_OK, "%s", memory_message());
        CHECK(cuda_event_query(later) == MEMORY_OK, "%d: what comes later is not told", first);
        CHECK(cuda_event_query(other_work) == MEMORY_OK, "%d: another stream is not told", first);
        CHECK(cuda_stream_query(&streams[1]) == MEMORY_OK, "%s", memory_message());
        cuda_event_release(event);
        cuda_event_release(later);
        cuda_event_release(other_work);
    }
    free_now(&target);
    free_now(&source);
    tear_down();
}

static void a_destroyed_streams_error_is_kept(void)
{
    set_up();
    struct memory_allocation target = alloc_now(64), source = alloc_now(64);
    hold_stream(&streams[0], &holds[0]);
    double event = failing_work(&target, &source);
    CHECK(cuda_stream_destroy(&streams[0]) == MEMORY_OK, "%s", memory_message());
    release_stream(&holds[0]);
    (void)stream_synchronize_all(); // which CUDA tells the error
    CHECK(cuda_event_query(event) == MEMORY_INTERNAL, "who waits for the work is told");
    cuda_event_release(event);
    CHECK(cuda_stream_create(&streams[0], 0) == MEMORY_OK, "%s", memory_message());
    free_now(&target);
    free_now(&source);
    tear_down();
}

static double polled_event;
static atomic_bool has_asked;

static void *ask_stream(void *unused)
{
    (void)unused;
    while (!has_asked) (void)stream_is_idle(whole_number(streams[0].id));
    return NULL;
}

// Between CUDA's telling the error and its being noted, nobody is told that all is well.
static void two_threads_ask_at_once(void)
{
    set_up();
    struct memory_allocation target = alloc_now(64), source = alloc_now(64);
    for (int i = 0; i < 300; i++) {
        hold_stream(&streams[0], &holds[0]);
        polled_event = failing_work(&target, &source);
        has_asked = false;
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, ask_stream, NULL) == 0, "no thread");
        release_stream(&holds[0]);
        enum memory_status status;
        while ((status = cuda_event_query(polled_event)) == MEMORY_NOT_DONE) continue;
        has_asked = true;
        CHECK(pthread_join(thread, NULL) == 0, "the thread ends");
        CHECK(status == MEMORY_INTERNAL, "round %d: %d", i, status);
        cuda_event_release(polled_event);
        CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_OK, "%s", memory_message());
    }
    free_now(&target);
    free_now(&source);
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("whoever asks first", whoever_asks_first);
    check_case("a destroyed stream's error is kept", a_destroyed_streams_error_is_kept);
    check_case("two threads ask at once", two_threads_ask_at_once);
    return check_report();
}
