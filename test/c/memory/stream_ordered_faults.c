// Everything that streams and stream-ordered memory need of CUDA and of the system is refused in
// turn, one call at a time. A refused call is an error or falls back, memory whose freeing fails
// still lives, and in the end nothing is lost.

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cuda/cudart.h"
#include "cudart_sim.h"
#include "failing_calls.h"
#include "held_stream.h"
#include "owned_memory.h"
#include "simulated_cuda.h"

enum {
    DEVICE_COUNT = 2,
    STREAM_COUNT = 3,
    NO_STREAM = -1,
    POOL_BYTE_SIZE = 8192, // so that one allocation takes all of a pool
    CUDA_ERROR_UNKNOWN = 999,
    OPERATION_NS = 100 * 1000,
};

static struct cuda_stream streams[STREAM_COUNT];
static struct memory_allocation source; // pinned memory, from which the GPUs copy

// ---- What is made to fail

static const char *failing_function; // null where the system refuses memory
static uint64_t failing_call;        // the first that fails, counted from the start of the process

static bool has_failed(void)
{
    if (failing_function == NULL) return failed_call_count > 0;
    return simulated_cuda_call_count(failing_function) >= failing_call;
}

static bool is_done(enum memory_status status, const char *call)
{
    if (status >= MEMORY_OK) return true;
    CHECK(has_failed(), "%s failed for nothing: %d, %s", call, status, memory_message());
    CHECK(strlen(memory_message()) > 0, "a failure of %s has a message", call);
    return false;
}

// ---- Memory on streams

static bool alloc_on_stream(int stream, struct memory_allocation *allocation)
{
    enum memory_status status =
        owned_memory_alloc_on_stream(allocation, POOL_BYTE_SIZE, MEMORY_GPU, 0,
                                     stream == NO_STREAM ? NULL : &streams[stream], memory_owner());
    return is_done(status, "allocated_memory_request");
}

static void free_now(const struct memory_allocation *allocation)
{
    enum memory_status status = owned_memory_free(allocation, memory_owner());
    CHECK(status == MEMORY_OK, "allocated_memory_free: %d, %s", status, memory_message());
}

// A synchronization that fails succeeds when it is repeated, because only one call fails.
static void synchronize(int stream)
{
    if (is_done(cuda_stream_synchronize(&streams[stream]), "cuda_stream_synchronize")) return;
    CHECK(cuda_stream_synchronize(&streams[stream]) == MEMORY_OK, "%s", memory_message());
}

static void free_on_stream(int stream, const struct memory_allocation *allocation)
{
    if (is_done(owned_memory_free_on_stream(allocation, &streams[stream], memory_owner()),
                "allocated_memory_free_on_stream")) {
        return;
    }
    // The block may be a reused one, which more than one stream uses.
    for (int i = 0; i < STREAM_COUNT; i++) synchronize(i);
    free_now(allocation); // After the failure it still lives.
}

static void free_on_all_streams(const struct memory_allocation *allocation)
{
    if (is_done(allocated_memory_free_on_streams(allocation, streams, STREAM_COUNT),
                "allocated_memory_free_on_streams")) {
        return;
    }
    for (int i = 0; i < STREAM_COUNT; i++) synchronize(i);
    free_now(allocation); // After the failure it still lives.
}

static void use_on(int stream, const struct memory_allocation *memory)
{
    is_done(allocated_memory_copy(memory, 0, &source, 0, POOL_BYTE_SIZE, &streams[stream]),
            "allocated_memory_copy");
}

static void alloc_use_and_free(int alloc_stream, int use_stream, int free_stream)
{
    struct memory_allocation memory;
    if (!alloc_on_stream(alloc_stream, &memory)) return;
    if (use_stream != NO_STREAM) use_on(use_stream, &memory);
    if (free_stream == NO_STREAM) free_now(&memory);
    else free_on_stream(free_stream, &memory);
}

// Memory of a pool, then what is pending on one stream and reused on another, and memory of the heap.
static void use_on_all_streams(void)
{
    struct memory_allocation memory;
    for (int i = 0; i < 2; i++) {
        if (!alloc_on_stream(i, &memory)) continue;
        use_on(i, &memory);
        if (i == 0) free_on_stream(0, &memory);
        else free_on_all_streams(&memory);
    }
    struct memory_allocation host[2];
    for (int i = 0; i < 2; i++) {
        enum memory_status status =
            owned_memory_alloc(&host[i], POOL_BYTE_SIZE, MEMORY_CPU, 0, memory_owner());
        if (is_done(status, "allocated_memory_alloc")) free_on_all_streams(&host[i]);
    }
}

static void order_streams(void)
{
    is_done(cuda_stream_wait_for(&streams[0], &streams[2]), "cuda_stream_wait_for");
}

// Another stream's handle, as if it were somebody else's.
static void use_borrowed_stream(void)
{
    struct cuda_stream borrowed;
    enum memory_status status = cuda_stream_borrow(&borrowed, streams[1].handle, 1);
    if (!is_done(status, "cuda_stream_borrow")) return;
    struct memory_allocation memory;
    enum memory_status allocated = owned_memory_alloc_on_stream(&memory, POOL_BYTE_SIZE, MEMORY_GPU,
                                                                1, &borrowed, memory_owner());
    if (is_done(allocated, "allocated_memory_alloc_on_stream")) {
        is_done(allocated_memory_copy(&memory, 0, &source, 0, POOL_BYTE_SIZE, &borrowed),
                "allocated_memory_copy");
        if (!is_done(owned_memory_free_on_stream(&memory, &borrowed, memory_owner()),
                     "allocated_memory_free_on_streams")) {
            synchronize(1);
            free_now(&memory);
        }
    }
    is_done(cuda_stream_destroy(&borrowed), "cuda_stream_destroy");
}

static void use_events(void)
{
    double event = cuda_event_record(&streams[0]);
    if (!is_done(event > 0 ? MEMORY_OK : (enum memory_status)event, "cuda_event_record")) return;
    enum memory_status status = MEMORY_NOT_DONE;
    for (int i = 0; i < 1000 * 1000 && status == MEMORY_NOT_DONE; i++) {
        status = cuda_event_query(event);
    }
    CHECK(status != MEMORY_NOT_DONE, "an event never passes");
    is_done(status, "cuda_event_query");
    cuda_event_release(event);
}

static void use_idle_streams(void)
{
    for (int i = 0; i < 2; i++) {
        struct cuda_stream stream;
        if (!is_done(cuda_stream_acquire(&stream, 1), "cuda_stream_acquire")) continue;
        is_done(cuda_stream_query(&stream), "cuda_stream_query");
        cuda_stream_release(&stream);
    }
}

static void use_host_memory(void)
{
    struct memory_allocation host[2];
    for (int i = 0; i < 2; i++) { // The second falls back to the system heap.
        enum memory_status status =
            owned_memory_alloc(&host[i], POOL_BYTE_SIZE, MEMORY_CPU, 0, memory_owner());
        if (!is_done(status, "pinned_memory_alloc")) host[i].address = 0;
    }
    for (int i = 0; i < 2; i++) {
        if (host[i].address != 0) free_on_stream(1, &host[i]);
    }
}

static void use_memory(void)
{
    // Each allocation takes the whole pool, which is what the one before it has freed.
    alloc_use_and_free(NO_STREAM, 0, 0);
    alloc_use_and_free(0, NO_STREAM, NO_STREAM); // reused on the same stream, and not used there
    alloc_use_and_free(1, 1, 1);                 // reused on another stream
    alloc_use_and_free(0, 0, 2);                 // freed on a third stream
    alloc_use_and_free(2, NO_STREAM, 2);
    alloc_use_and_free(NO_STREAM, NO_STREAM, NO_STREAM); // waits for all of them
    alloc_use_and_free(0, 0, 0);
    alloc_use_and_free(1, NO_STREAM, NO_STREAM);
    alloc_use_and_free(NO_STREAM, NO_STREAM, 0);
    use_host_memory();
}

static void expect_all_free(void)
{
    for (int i = 0; i < STREAM_COUNT; i++) synchronize(i);
    struct memory_pool_stats stats;
    for (int i = 0; i < 2; i++) { // Reading takes back pending memory, and the first may fail to.
        CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "%s", memory_message());
    }
    CHECK(stats.used_byte_size == 0, "%.0f bytes are lost", stats.used_byte_size);
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK, "%s", memory_message());
    CHECK(stats.used_byte_size == POOL_BYTE_SIZE,
          "of pinned memory only the source lives, not %.0f", stats.used_byte_size);
    CHECK(pinned_memory_nonpinned_count() == 0, "non-pinned memory is lost");
}

// ---- Lives

static void create(void)
{
    enum memory_status status = cuda_memory_create(
        (const double[]){0, 1}, (const double[]){POOL_BYTE_SIZE, POOL_BYTE_SIZE}, DEVICE_COUNT, 0);
    CHECK(status == MEMORY_OK, "cuda_memory_create: %s", memory_message());
    CHECK(pinned_memory_create(2.0 * POOL_BYTE_SIZE, 0, INFINITY) == MEMORY_OK, "%s",
          memory_message());
    CHECK(owned_memory_alloc(&source, POOL_BYTE_SIZE, MEMORY_CPU, 0, memory_owner()) == MEMORY_OK,
          "%s", memory_message());
}

static bool create_streams(void)
{
    int count = 0;
    while (
        count < STREAM_COUNT &&
        is_done(cuda_stream_create(&streams[count], count % DEVICE_COUNT), "cuda_stream_create")) {
        count++;
    }
    if (count == STREAM_COUNT) return true;
    for (int i = 0; i < count; i++) cuda_stream_destroy(&streams[i]);
    return false;
}

static void run(void)
{
    if (create_streams()) {
        is_done(peer_access_enable((const double[]){0, 1}, DEVICE_COUNT), "peer_access_enable");
        use_memory();
        use_on_all_streams();
        order_streams();
        use_borrowed_stream();
        use_events();
        use_idle_streams();
        expect_all_free();
        alloc_use_and_free(NO_STREAM, 0, 0); // Both are still under way at the reset.
        alloc_use_and_free(1, 1, 1);
        for (int i = 0; i < STREAM_COUNT; i++) {
            is_done(cuda_stream_destroy(&streams[i]), "cuda_stream_destroy");
        }
    }
    is_done(cuda_memory_reset(), "cuda_memory_reset");
    is_done(pinned_memory_reset(), "pinned_memory_reset");
}

static void expect_nothing_left(void)
{
    CHECK(cuda_memory_reset() == MEMORY_OK, "cuda_memory_reset: %s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "pinned_memory_reset: %s", memory_message());
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

// ---- The cases

// Returns how many calls of the function there were to refuse.
static uint64_t refuse_each(const char *function)
{
    failing_function = function;
    for (uint64_t nth = 1;; nth++) {
        create();
        failing_call = simulated_cuda_call_count(function) + nth;
        CHECK(cudartSimFailCall(function, nth, CUDA_ERROR_UNKNOWN) == 0, "no such function");
        run();
        bool was_refused = has_failed();
        cudartSimClearFaults();
        expect_nothing_left();
        if (!was_refused) return nth - 1;
    }
}

// What the library calls of CUDA, but for functions that cannot fail, or that streams have no use for.
static bool is_called_for_streams(const char *function)
{
    static const char *const others[] = {
        "cudaGetErrorName",
        "cudaGetErrorString",
        "cudaGetLastError",
        "cudaMalloc",
        "cudaHostAlloc",
        "cudaMemcpy",
        "cudaMemset",
        "cudaMemGetInfo",
        // These are called once, or where there are no such functions of the driver as below.
        "cudaGetDeviceCount",
        "cudaGetDevice",
        "cudaSetDevice",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i], function) == 0) return false;
    }
    return true;
}

static void every_call_of_cuda_fails(void)
{
#define NAME(result, name, parameters) #name,
    static const char *const functions[] = {CUDART_FUNCTIONS(NAME)};
#undef NAME
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (!is_called_for_streams(functions[i])) continue;
        CHECK(refuse_each(functions[i]) > 0, "%s is never called", functions[i]);
    }
    CHECK(refuse_each("cuCtxPushCurrent_v2") > 0, "the driver's function is called");
    CHECK(refuse_each("cuCtxPopCurrent_v2") > 0, "the driver's function is called");
}

static uint64_t refuse_each_memory(bool for_good)
{
    failing_function = NULL;
    for (uint64_t nth = 1;; nth++) {
        create();
        failed_call_count = 0;
        fail_call(nth, for_good);
        run();
        bool was_refused = has_failed();
        fail_call(0, false);
        expect_nothing_left();
        if (!was_refused) return nth - 1;
    }
}

static void expect_enough(uint64_t refused_count)
{
    // Three streams and a dozen freed blocks need memory of the system.
    CHECK(refused_count >= 15, "only %" PRIu64 " calls could be refused", refused_count);
}

static void memory_that_is_refused_once(void)
{
    expect_enough(refuse_each_memory(false));
}

static void memory_that_is_refused_from_then_on(void)
{
    expect_enough(refuse_each_memory(true));
}

// Frees memory on a stream whose work on it has not run yet, however long this thread is kept from
// running.
static void alloc_and_free_before_use(void)
{
    static struct hold hold; // The stream may look at it a little longer.
    hold_stream(&streams[0], &hold);
    alloc_use_and_free(NO_STREAM, 0, 0);
    release_stream(&hold);
}

// CUDA reports such an error only once, and whoever reads statistics comes upon it first.
static void an_error_is_kept_for_the_owner_of_the_stream(void)
{
    enum { NOT_SUPPORTED = 801 };
    create();
    CHECK(create_streams(), "%s", memory_message());
    failing_function = "cudaMemcpyAsync";
    failing_call = 0;
    cudartSimFailOperation(1, NOT_SUPPORTED);
    alloc_and_free_before_use();
    struct memory_pool_stats stats;
    do { // The memory comes back all the same.
        CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "%s", memory_message());
    } while (stats.used_byte_size > 0);
    CHECK(cuda_stream_query(&streams[1]) == MEMORY_OK,
          "the owner of another stream is told nothing");
    CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_INTERNAL,
          "the owner of the stream is told");
    CHECK(strstr(memory_message(), "cudaErrorNotSupported") != NULL,
          "the message names the error: %s", memory_message());
    CHECK(cuda_stream_synchronize(&streams[0]) == MEMORY_OK, "the owner is told only once");
    for (int i = 0; i < STREAM_COUNT; i++) {
        CHECK(cuda_stream_destroy(&streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    cudartSimClearFaults();
    expect_nothing_left();
}

int main(void)
{
    simulated_cuda_bind("9.0:1048576,8.0:1048576");
    cudartSimSetDelay(0, OPERATION_NS);
    check_case("every call of CUDA fails", every_call_of_cuda_fails);
    check_case("memory that is refused once", memory_that_is_refused_once);
    check_case("memory that is refused from then on", memory_that_is_refused_from_then_on);
    check_case("an error is kept for the owner of the stream",
               an_error_is_kept_for_the_owner_of_the_stream);
    return check_report();
}
