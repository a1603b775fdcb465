// What a thread held that has ended goes back once no GPU uses it any more, and no request waits for that: the
// streams of the thread are held until a request has been answered, so that one which waited would wait
// for ever.

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cuda/stream.h"
#include "cudart_sim.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "simulated_cuda.h"
#include "stream_fixture.h"
#include "threads.h"

// The simulator is linked with the tests, and the library does not call this function.
int cudaStreamBeginCapture(void *stream, int mode);

enum { CUDA_ERROR_INVALID_VALUE = 1, REFUSED_CALL_COUNT = 64, OWN_STREAM_COUNT = 2 };

// ---- A thread that ends

struct ending {
    bool is_capturing;
    bool has_borrowed; // stream 0 of the test, and it has none of its own
};

// Of the thread that has ended last.
static struct hold own_holds[OWN_STREAM_COUNT];
static struct memory_allocation left_behind;

static void hold_own_streams(const struct ending *ending)
{
    for (int i = 0; i < OWN_STREAM_COUNT; i++) {
        struct cuda_stream stream;
        CHECK(cuda_stream_create(&stream, 0) == MEMORY_OK, "%s", memory_message());
        hold_stream(&stream, &own_holds[i]);
        if (!ending->is_capturing) continue;
        CHECK(cudaStreamBeginCapture(stream_handle(&stream), 0) == 0, "no capture begins");
    }
}

static void *hold_all_and_end(void *argument)
{
    const struct ending *ending = argument;
    left_behind = alloc_now(POOL_BYTE_SIZE);
    CHECK(is_on_gpu(&left_behind), "the pool is empty");
    if (ending->has_borrowed) {
        struct cuda_stream borrowed;
        CHECK(cuda_stream_borrow(&borrowed, streams[0].handle, 0) == MEMORY_OK, "%s",
              memory_message());
        hold_stream(&borrowed, &own_holds[0]);
    } else {
        hold_own_streams(ending);
    }
    return NULL;
}

static void end_thread(struct ending ending)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, hold_all_and_end, &ending) == 0, "no thread");
    pthread_join(thread, NULL);
}

static void release_own_streams(struct ending ending)
{
    for (int i = 0; i < (ending.has_borrowed ? 1 : OWN_STREAM_COUNT); i++) {
        release_stream(&own_holds[i]);
    }
}

// ---- What is asked for

// Each kind of request that looks for what ended threads have left behind, with what a GPU still uses.
static void expect_no_wait_and_no_memory(void)
{
    for (int i = 0; i < 3; i++) {
        expect_nothing_free();
        CHECK(cuda_memory_alloc(1, 0) == MEMORY_OUT_OF_MEMORY, "the pool is full");
        CHECK(gpu_stats().used_byte_size == POOL_BYTE_SIZE, "all of it is in use");
    }
}

// The same with a stream, which could be made to wait for those of the thread if they could be named.
static void expect_no_wait_and_no_memory_on_stream(void)
{
    struct memory_allocation memory = alloc_on_stream(1, 1);
    CHECK(!is_on_gpu(&memory), "memory was handed on that a stream still uses");
    free_now(&memory);
}

// Whoever looks often enough finds it, because a wait of the library's own ends a moment after the work.
static void expect_given_back(void)
{
    for (int i = 0; i < 10 * 1000; i++) {
        struct memory_allocation memory = alloc_now(POOL_BYTE_SIZE);
        bool is_given_back = is_on_gpu(&memory);
        free_now(&memory);
        if (is_given_back) return;
        sleep_microseconds(1000);
    }
    CHECK(false, "what the thread has left behind is lost");
}

static void refuse(const char *function)
{
    for (uint64_t nth = 1; nth <= REFUSED_CALL_COUNT; nth++) {
        CHECK(cudartSimFailCall(function, nth, CUDA_ERROR_INVALID_VALUE) == 0, "no fault");
    }
}

static void expect_in_the_end(struct ending ending)
{
    expect_no_wait_and_no_memory();
    release_own_streams(ending);
    expect_given_back();
    tear_down();
}

// ---- Cases

static void in_order_of_its_streams(void)
{
    set_up();
    const struct ending ending = {0};
    end_thread(ending);
    expect_in_the_end(ending);
}

static void in_the_middle_of_captures(void)
{
    set_up();
    const struct ending ending = {.is_capturing = true};
    end_thread(ending);
    expect_no_wait_and_no_memory_on_stream();
    expect_in_the_end(ending);
}

static void in_the_middle_of_captures_that_cannot_be_ended(void)
{
    set_up();
    const struct ending ending = {.is_capturing = true};
    end_thread(ending);
    refuse("cudaStreamDestroy");
    expect_no_wait_and_no_memory();
    CHECK(cudartSimClearFaults() == 0, "no faults");
    expect_in_the_end(ending);
}

static void with_a_borrowed_stream(void)
{
    set_up();
    const struct ending ending = {.has_borrowed = true};
    end_thread(ending);
    expect_no_wait_and_no_memory_on_stream();
    expect_in_the_end(ending);
}

// Several threads end that way, while the GPU works for the first.
static void several_in_the_middle_of_captures(void)
{
    set_up();
    const struct ending ending = {.is_capturing = true};
    end_thread(ending);
    expect_no_wait_and_no_memory();
    release_own_streams(ending);
    expect_given_back();
    end_thread(ending); // the wait of before tells nothing of this one
    expect_in_the_end(ending);
}

// Without an event nothing can be put in order.
static void refuse_while_held(const char *function)
{
    set_up();
    const struct ending ending = {0};
    end_thread(ending);
    refuse(function);
    expect_no_wait_and_no_memory();
    CHECK(cudartSimClearFaults() == 0, "no faults");
    expect_in_the_end(ending);
}

static void where_cuda_creates_no_event(void)
{
    refuse_while_held("cudaEventCreateWithFlags");
}

static void where_cuda_records_no_event(void)
{
    refuse_while_held("cudaEventRecord");
}

static void where_cuda_makes_no_stream_wait(void)
{
    refuse_while_held("cudaStreamWaitEvent");
}

static void where_cuda_tells_nothing_of_streams(void)
{
    refuse_while_held("cudaStreamIsCapturing");
}

// The stream is asked instead, and there is nothing else that could tell.
static void where_cuda_never_records_an_event(void)
{
    set_up();
    const struct ending ending = {0};
    end_thread(ending);
    refuse("cudaEventRecord");
    uint64_t device_wait_count = simulated_cuda_call_count("cudaDeviceSynchronize");
    expect_no_wait_and_no_memory();
    release_own_streams(ending);
    for (int i = 0; i < 10 * 1000; i++) {
        refuse("cudaEventRecord");
        if (gpu_stats().used_byte_size == 0) break;
        sleep_microseconds(1000);
    }
    CHECK(gpu_stats().used_byte_size == 0, "what the thread has left behind is lost");
    CHECK(simulated_cuda_call_count("cudaDeviceSynchronize") == device_wait_count,
          "the GPU is not waited for where the stream tells");
    CHECK(cudartSimClearFaults() == 0, "no faults");
    tear_down();
}

// ---- A reset

static struct ending released_ending;
static atomic_bool is_released;

static void *release_at_device_synchronize(void *argument)
{
    uint64_t before = *(const uint64_t *)argument;
    while (simulated_cuda_call_count("cudaDeviceSynchronize") == before) sleep_microseconds(100);
    sleep_microseconds(1000);
    is_released = true;
    release_own_streams(released_ending);
    return NULL;
}

// It may wait, and leaves nothing.
static void a_reset_waits(void)
{
    set_up();
    released_ending = (struct ending){.is_capturing = true};
    end_thread(released_ending);
    is_released = false;
    uint64_t before = simulated_cuda_call_count("cudaDeviceSynchronize");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release_at_device_synchronize, &before) == 0, "no thread");
    tear_down();
    CHECK(is_released, "a reset took memory away that a stream still used");
    pthread_join(thread, NULL);
}

int main(void)
{
    stream_fixture_bind();
    check_case("a thread ends, and its streams go on", in_order_of_its_streams);
    check_case("in the middle of captures", in_the_middle_of_captures);
    check_case("in the middle of captures that CUDA does not let end",
               in_the_middle_of_captures_that_cannot_be_ended);
    check_case("two threads, one after the other", several_in_the_middle_of_captures);
    check_case("with a borrowed stream", with_a_borrowed_stream);
    check_case("where CUDA creates no event", where_cuda_creates_no_event);
    check_case("where CUDA records no event", where_cuda_records_no_event);
    check_case("where CUDA never records one", where_cuda_never_records_an_event);
    check_case("where CUDA makes no stream wait", where_cuda_makes_no_stream_wait);
    check_case("where CUDA tells nothing of streams", where_cuda_tells_nothing_of_streams);
    check_case("a reset waits for what the thread's streams do", a_reset_waits);
    return check_report();
}
