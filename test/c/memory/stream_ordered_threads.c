// Threads that allocate from the same pools, and use memory and free it on streams of their own.
// Whatever is written on a stream is read back after it and compared: memory that is reused too
// early changes under work of its earlier owner, and a race detector sees that too.

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "cuda/cudart.h"
#include "cudart_sim.h"
#include "owned_memory.h"
#include "simulated_cuda.h"
#include "threads.h"

enum {
    DEVICE_COUNT = 2,
    THREAD_COUNT_MAX = 64,
    STREAM_COUNT = 3, // of each thread; the last is of GPU 1
    SLOT_COUNT = 16,  // of each thread
    BYTE_SIZE_MAX = 4096,
    POOL_BYTE_SIZE = 2 * BYTE_SIZE_MAX,
    STEP_COUNT = 6000, // of all threads together
    OPERATION_NS = 50 * 1000,
};

static int thread_count;

static void create(void)
{
    enum memory_status status = cuda_memory_create(
        (const double[]){0, 1}, (const double[]){POOL_BYTE_SIZE, POOL_BYTE_SIZE}, DEVICE_COUNT, 0);
    CHECK(status == MEMORY_OK, "cuda_memory_create: %s", memory_message());
    CHECK(pinned_memory_create(POOL_BYTE_SIZE, 0, INFINITY) == MEMORY_OK, "%s", memory_message());
}

static void reset(void)
{
    CHECK(cuda_memory_reset() == MEMORY_OK, "cuda_memory_reset: %s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "pinned_memory_reset: %s", memory_message());
}

// Whether resets may take memory away. A call may be refused only then.
static bool resets_happen;

static bool is_done(enum memory_status status, const char *call)
{
    if (status >= MEMORY_OK) return true;
    CHECK(resets_happen && status == MEMORY_UNAVAILABLE, "%s: %d, %s", call, status,
          memory_message());
    return false;
}

// ---- What a thread has

// The bytes that are written to an allocation on a stream, and those that are read back after it.
struct slot {
    unsigned char source[BYTE_SIZE_MAX];
    unsigned char target[BYTE_SIZE_MAX];
    size_t byte_size; // 0 where no copy is under way
    int stream;
    unsigned char content;
};

struct user {
    struct random random;
    struct cuda_stream streams[STREAM_COUNT];
    // Pinned memory that is not the managers': copies of ordinary memory are not asynchronous.
    struct slot *slots;
};

static void synchronize(const struct user *user, int stream)
{
    CHECK(cuda_stream_synchronize(&user->streams[stream]) == MEMORY_OK, "%s", memory_message());
}

static void settle(const struct user *user, struct slot *slot)
{
    if (slot->byte_size == 0) return;
    synchronize(user, slot->stream);
    for (size_t i = 0; i < slot->byte_size; i++) {
        CHECK(slot->target[i] == slot->content, "byte %zu of %zu is %d, was written as %d", i,
              slot->byte_size, slot->target[i], slot->content);
    }
    slot->byte_size = 0;
}

static void set_up(struct user *user, uint64_t number)
{
    *user = (struct user){.random = random_stream(number)};
    for (int i = 0; i < STREAM_COUNT; i++) {
        enum memory_status status =
            cuda_stream_create(&user->streams[i], i == STREAM_COUNT - 1 ? 1 : 0);
        CHECK(status == MEMORY_OK, "cuda_stream_create: %s", memory_message());
    }
    void *slots;
    int error = cudart.cudaHostAlloc(&slots, SLOT_COUNT * sizeof(struct slot), 0);
    CHECK(error == 0, "cudaHostAlloc: error %d", error);
    memset(slots, 0, SLOT_COUNT * sizeof(struct slot));
    user->slots = slots;
}

static void tear_down(struct user *user)
{
    for (int i = 0; i < SLOT_COUNT; i++) settle(user, &user->slots[i]);
    for (int i = 0; i < STREAM_COUNT; i++) {
        synchronize(user, i);
        CHECK(cuda_stream_destroy(&user->streams[i]) == MEMORY_OK, "%s", memory_message());
    }
    int error = cudart.cudaFreeHost(user->slots);
    CHECK(error == 0, "cudaFreeHost: error %d", error);
}

// ---- What it does

static void write_and_read_on(struct user *user, int stream, const struct memory_allocation *memory,
                              unsigned char content)
{
    struct slot *slot = &user->slots[random_below(&user->random, SLOT_COUNT)];
    settle(user, slot);
    size_t byte_size = (size_t)memory->byte_size;
    memset(slot->source, content, byte_size);
    memset(slot->target, (unsigned char)~content, byte_size);
    const struct cuda_stream *on = &user->streams[stream];
    bool is_queued = is_done(allocated_memory_write(memory, 0, slot->source, (double)byte_size, on),
                             "allocated_memory_write") &&
                     is_done(allocated_memory_read(memory, 0, slot->target, (double)byte_size, on),
                             "allocated_memory_read");
    slot->stream = stream;
    slot->content = content;
    if (is_queued) slot->byte_size = byte_size;
    else synchronize(user, stream); // The write may be under way although the read was refused.
}

static void write_and_read_now(const struct memory_allocation *memory, unsigned char content)
{
    unsigned char bytes[BYTE_SIZE_MAX];
    if (!is_done(allocated_memory_fill(memory, content), "allocated_memory_fill")) return;
    if (!is_done(allocated_memory_read(memory, 0, bytes, memory->byte_size, NULL),
                 "allocated_memory_read")) {
        return;
    }
    for (size_t i = 0; i < (size_t)memory->byte_size; i++) {
        CHECK(bytes[i] == content, "byte %zu is %d, was written as %d", i, bytes[i], content);
    }
}

static void free_now(const struct memory_allocation *memory)
{
    enum memory_status status = owned_memory_free(memory, memory_owner());
    CHECK(status == MEMORY_OK, "allocated_memory_free: %d, %s", status, memory_message());
}

static void free_on_stream(const struct user *user, int stream,
                           const struct memory_allocation *memory)
{
    enum memory_status status =
        owned_memory_free_on_stream(memory, &user->streams[stream], memory_owner());
    CHECK(status == MEMORY_OK, "allocated_memory_free_on_stream: %d, %s", status, memory_message());
}

static void use_some_memory(struct user *user)
{
    struct random *random = &user->random;
    int stream = (int)random_below(random, STREAM_COUNT + 1) - 1;
    unsigned char content = (unsigned char)random_below(random, 256);
    struct memory_allocation memory;
    enum memory_status status =
        owned_memory_alloc_on_stream(&memory, (double)(1 + random_below(random, BYTE_SIZE_MAX)),
                                     random_below(random, 8) == 0 ? MEMORY_CPU_PINNED : MEMORY_GPU,
                                     (double)random_below(random, DEVICE_COUNT),
                                     stream < 0 ? NULL : &user->streams[stream], memory_owner());
    CHECK(status >= MEMORY_OK, "allocated_memory_request: %d, %s", status, memory_message());
    if (stream < 0) {
        write_and_read_now(&memory, content);
        free_now(&memory);
        return;
    }
    switch (random_below(random, 8)) {
    case 0: // Memory that was perhaps reused is freed without having been used.
        free_now(&memory);
        break;
    case 1:
        free_on_stream(user, (int)random_below(random, STREAM_COUNT), &memory);
        break;
    default:
        write_and_read_on(user, stream, &memory, content);
        free_on_stream(user, stream, &memory);
    }
}

// Where resets happen, threads go on until there were at least so many, however seldom the
// resetting thread gets a processor.
enum { RESET_COUNT_MIN = 4 };

static atomic_int reset_count;

static bool has_enough_resets(void)
{
    return !resets_happen || reset_count >= RESET_COUNT_MIN;
}

static void use_own_streams(int number)
{
    static struct user users[THREAD_COUNT_MAX];
    struct user *user = &users[number];
    set_up(user, (uint64_t)number);
    for (int step = 0; step < STEP_COUNT / thread_count || !has_enough_resets(); step++) {
        use_some_memory(user);
    }
    tear_down(user);
}

// ---- The cases

static void read_stats(void)
{
    struct memory_pool_stats stats;
    for (int device = 0; device < DEVICE_COUNT; device++) {
        if (cuda_memory_stats(device, &stats) != MEMORY_OK) continue;
        CHECK(stats.used_byte_size + stats.free_byte_size == POOL_BYTE_SIZE,
              "the used and the free size add up");
    }
    sleep_microseconds(300);
}

static void expect_no_host_memory(void)
{
    struct memory_pool_stats stats;
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.allocation_count == 0,
          "pinned memory: %.0f blocks are left", stats.allocation_count);
    CHECK(pinned_memory_nonpinned_count() == 0, "non-pinned memory is left");
}

static void expect_all_free(void)
{
    simulated_cuda_expect_pools_emptied(DEVICE_COUNT, POOL_BYTE_SIZE);
    expect_no_host_memory();
}

static void run_without_resets(int count)
{
    thread_count = count;
    uint64_t stream_wait_count = simulated_cuda_call_count("cudaStreamWaitEvent");
    create();
    threads_run_beside(thread_count, use_own_streams, read_stats);
    CHECK(simulated_cuda_call_count("cudaStreamWaitEvent") > stream_wait_count,
          "no stream ever waited");
    expect_all_free();
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

static void bytes_stay_their_owners_in_one_thread(void)
{
    run_without_resets(1);
}

static void bytes_stay_their_owners_in_many_threads(void)
{
    run_without_resets(threads_beyond_processors());
}

static void reset_and_create(void)
{
    read_stats();
    reset();
    if (reset_count++ % 2 == 0) sleep_microseconds(100);
    create();
    sleep_microseconds(3000);
}

static void resets_take_memory_away_that_streams_use(void)
{
    thread_count = threads_beyond_processors();
    resets_happen = true;
    create();
    threads_run_beside(thread_count, use_own_streams, reset_and_create);
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
    resets_happen = false;
}

// ---- Holds that end in another thread, such as that of a view whose buffer it has got

enum { HOLD_COUNT = 4000 };

static _Atomic double hold_to_end;
static struct cuda_stream stream_of_holds;

static void end_holds(void)
{
    for (int ended_count = 0; ended_count < HOLD_COUNT;) {
        double hold = atomic_exchange(&hold_to_end, 0);
        if (hold == 0) {
            sched_yield();
            continue;
        }
        memory_hold_end(hold);
        ended_count++;
    }
}

static void free_held_memory(void)
{
    for (int i = 0; i < HOLD_COUNT; i++) {
        struct memory_allocation allocation;
        enum memory_status status = owned_memory_alloc(&allocation, 512, MEMORY_CPU_PINNED, 0, 1);
        CHECK(status >= MEMORY_OK, "%s", memory_message());
        double hold = memory_hold_begin(&allocation);
        CHECK(hold > 0, "%s", memory_message());
        hold_to_end = hold;
        status = owned_memory_free_on_stream(&allocation, &stream_of_holds, 1);
        CHECK(status == MEMORY_OK, "hold %d: %d, %s", i, status, memory_message());
        while (hold_to_end != 0) sched_yield();
    }
}

static void free_or_end(int number)
{
    if (number == 0) free_held_memory();
    else end_holds();
}

static void memory_comes_back_whose_hold_ends_as_it_is_freed(void)
{
    create();
    cudartSimSetDelay(0, 0);
    CHECK(cuda_stream_create(&stream_of_holds, 0) == MEMORY_OK, "%s", memory_message());
    threads_run(2, free_or_end);
    CHECK(cuda_stream_synchronize(&stream_of_holds) == MEMORY_OK, "%s", memory_message());
    CHECK(cuda_stream_destroy(&stream_of_holds) == MEMORY_OK, "%s", memory_message());
    expect_no_host_memory();
    reset();
}

int main(void)
{
    // The devices are small because ThreadSanitizer cannot map large ones.
    simulated_cuda_bind("9.0:1048576,8.0:1048576");
    cudartSimSetDelay(0, OPERATION_NS);
    check_case("bytes stay their owner's in one thread", bytes_stay_their_owners_in_one_thread);
    check_case("bytes stay their owner's in many threads", bytes_stay_their_owners_in_many_threads);
    check_case("resets take memory away that streams use",
               resets_take_memory_away_that_streams_use);
    check_case("memory comes back whose hold ends as it is freed",
               memory_comes_back_whose_hold_ends_as_it_is_freed);
    return check_report();
}
