// All memory that the managers need of the system is refused in turn, one call at a time: for the
// tables of their pools, for the pools themselves (the simulator's mmap), and on the system heap. A
// refused call falls back or is an error, live memory keeps its bytes, and nothing is lost.

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "failing_calls.h"
#include "owned_memory.h"
#include "simulated_cuda.h"

enum {
    DEVICE_COUNT = 2,
    GPU_POOL_BYTE_SIZE = 4 * 1024 * 1024, // for more blocks than the tables first have room for
    PINNED_POOL_BYTE_SIZE = 16 * 1024,
    MEMORY_COUNT_MAX = 6000,
    GPU_FILL_COUNT = 5000,
    STEP_COUNT = 600,
};

struct memory {
    struct memory_allocation allocation;
    unsigned char content;
};

static struct memory memories[MEMORY_COUNT_MAX];
static int memory_count;

static void alloc_memory(double byte_size, double memory_type, struct random *random)
{
    CHECK(memory_count < MEMORY_COUNT_MAX, "the test has too few places");
    uint64_t failures_before = failed_call_count;
    struct memory *memory = &memories[memory_count];
    enum memory_status status =
        owned_memory_alloc(&memory->allocation, byte_size, memory_type,
                           (double)random_below(random, DEVICE_COUNT), memory_owner());
    if (status < MEMORY_OK) {
        CHECK(failed_call_count != failures_before, "a request was refused for nothing: %s",
              memory_message());
        CHECK(strlen(memory_message()) > 0, "a refusal has a message");
        return;
    }
    memory->content = (unsigned char)random_below(random, 256);
    status = allocated_memory_write(&memory->allocation, 0, &memory->content, 1, NULL);
    CHECK(status == MEMORY_OK, "allocated_memory_write: %d, %s", status, memory_message());
    memory_count++;
}

static void free_memory(int index)
{
    const struct memory *memory = &memories[index];
    unsigned char content;
    enum memory_status status = allocated_memory_read(&memory->allocation, 0, &content, 1, NULL);
    CHECK(status == MEMORY_OK, "allocated_memory_read: %d, %s", status, memory_message());
    CHECK(content == memory->content, "%d was written, %d is read", memory->content, content);
    status = owned_memory_free(&memory->allocation, memory_owner());
    CHECK(status == MEMORY_OK, "allocated_memory_free: %d, %s", status, memory_message());
    memories[index] = memories[--memory_count];
}

static void create(void)
{
    uint64_t failures_before = failed_call_count;
    int32_t cuda_status = cuda_memory_create(
        (const double[]){0, 1}, (const double[]){GPU_POOL_BYTE_SIZE, GPU_POOL_BYTE_SIZE},
        DEVICE_COUNT, 0);
    bool was_refused = failed_call_count != failures_before;
    CHECK((cuda_status == MEMORY_OK) == !was_refused, "cuda_memory_create: %d, %s", cuda_status,
          memory_message());
    struct memory_pool_stats stats;
    for (int device = 0; device < DEVICE_COUNT; device++) {
        CHECK((cuda_memory_stats(device, &stats) == MEMORY_OK) == !was_refused,
              "where one reservation fails, none stays: GPU %d", device);
    }
    failures_before = failed_call_count;
    int32_t pinned_status = pinned_memory_create(PINNED_POOL_BYTE_SIZE, 0, INFINITY);
    was_refused = failed_call_count != failures_before;
    CHECK((pinned_status == MEMORY_OK) == !was_refused, "pinned_memory_create: %d, %s",
          pinned_status, memory_message());
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK &&
              stats.capacity_byte_size == (was_refused ? 0 : PINNED_POOL_BYTE_SIZE),
          "the manager exists without a pool too");
}

static void reset(void)
{
    CHECK(cuda_memory_reset() == MEMORY_OK, "cuda_memory_reset: %s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "pinned_memory_reset: %s", memory_message());
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

static void run(bool fills_gpus)
{
    struct random random = random_stream(1);
    create();
    for (int i = 0; fills_gpus && i < GPU_FILL_COUNT; i++) alloc_memory(512, MEMORY_GPU, &random);
    for (int step = 0; step < STEP_COUNT; step++) {
        if (random_below(&random, 3) == 0) {
            if (memory_count > 0) free_memory((int)random_below(&random, (uint64_t)memory_count));
        } else {
            // Most sizes are more than the pinned pool has left: the system heap is used too.
            double byte_size = (double)(1 + random_below(&random, 2000));
            alloc_memory(byte_size,
                         (double)random_below(&random, 12) == 0 ? MEMORY_CPU : MEMORY_GPU, &random);
        }
    }
    // Half of the memory is freed, and the reset takes the rest.
    for (int i = memory_count / 2; i > 0; i--) free_memory(i);
    memory_count = 0;
    reset();
}

static uint64_t refuse_each_in_turn(bool fills_gpus, bool for_good)
{
    fail_call(0, false);
    run(fills_gpus); // The simulator maps its devices at their first use, and keeps the maps.
    int64_t steady_map_count = live_map_count;
    for (uint64_t nth = 1;; nth++) {
        uint64_t before = failed_call_count;
        fail_call(nth, for_good);
        run(fills_gpus);
        fail_call(0, false);
        CHECK(live_map_count == steady_map_count, "%" PRId64 " maps are left",
              live_map_count - steady_map_count);
        if (failed_call_count == before) return nth - 1;
    }
}

static void expect_enough(uint64_t refused_count)
{
    // The four tables of two GPUs take two calls each, and the pinned pool and the heap take more.
    CHECK(refused_count >= 20, "only %" PRIu64 " calls could be refused", refused_count);
}

static void memory_that_is_refused_once(void)
{
    expect_enough(refuse_each_in_turn(false, false));
    expect_enough(refuse_each_in_turn(true, false));
}

static void memory_that_is_refused_from_then_on(void)
{
    expect_enough(refuse_each_in_turn(false, true));
    expect_enough(refuse_each_in_turn(true, true));
}

// The limit of non-pinned memory, of which no refused call takes anything.
static void memory_that_is_refused_takes_nothing_of_the_limit(void)
{
    CHECK(pinned_memory_create(0, 0, 4096) == MEMORY_OK, "%s", memory_message());
    uint64_t before;
    uint64_t nth = 0;
    do {
        before = failed_call_count;
        fail_call(++nth, true);
        struct memory_allocation memory;
        enum memory_status status =
            owned_memory_alloc(&memory, 4096, MEMORY_CPU, 0, memory_owner());
        fail_call(0, false);
        if (failed_call_count != before) {
            CHECK(status == MEMORY_OUT_OF_MEMORY, "%d, %s", status, memory_message());
            CHECK(strstr(memory_message(), "the system has no non-pinned memory") != NULL, "%s",
                  memory_message());
            status = owned_memory_alloc(&memory, 4096, MEMORY_CPU, 0, memory_owner());
        }
        CHECK(status >= MEMORY_OK, "%d, %s", status, memory_message());
        CHECK(owned_memory_free(&memory, memory_owner()) == MEMORY_OK, "%s", memory_message());
    } while (failed_call_count != before);
    CHECK(nth > 3, "the block, its description and its place in the tree can be refused");
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
}

static double capacity_of_gpu(double device_id)
{
    struct memory_pool_stats stats = {0};
    (void)cuda_memory_stats(device_id, &stats);
    return stats.capacity_byte_size;
}

// From one size to another, which has room beside it or only in its place.
static void resize_with_each_call_refused(double from, double to, bool for_good)
{
    uint64_t before = 0;
    for (uint64_t nth = 1; nth == 1 || failed_call_count != before; nth++) {
        CHECK(cuda_memory_create((const double[]){0}, (const double[]){from}, from > 0, NULL) ==
                  MEMORY_OK,
              "%s", memory_message());
        before = failed_call_count;
        fail_call(nth, for_good);
        enum memory_status status = cuda_memory_resize(0, to);
        fail_call(0, false);
        if (status >= MEMORY_OK) {
            CHECK(capacity_of_gpu(0) == to, "a success has the new size");
        } else {
            CHECK(failed_call_count != before, "refused for nothing: %s", memory_message());
            bool is_gone = strstr(memory_message(), "no CUDA memory pool any more") != NULL;
            CHECK(capacity_of_gpu(0) == (is_gone ? 0 : from), "%s", memory_message());
        }
        reset();
    }
}

static void memory_that_is_refused_to_a_pool_that_is_resized(void)
{
    const double size = GPU_POOL_BYTE_SIZE;
    for (int for_good = 0; for_good < 2; for_good++) {
        resize_with_each_call_refused(size / 2, size, for_good);
        resize_with_each_call_refused(0, size, for_good);
        resize_with_each_call_refused(size, 0, for_good);
        resize_with_each_call_refused(1.5 * size, 1.75 * size, for_good);
    }
}

int main(void)
{
    simulated_cuda_bind("9.0:8388608,8.0:8388608");
    check_case("memory that is refused once", memory_that_is_refused_once);
    check_case("memory that is refused from then on", memory_that_is_refused_from_then_on);
    check_case("memory that is refused takes nothing of the limit",
               memory_that_is_refused_takes_nothing_of_the_limit);
    check_case("memory that is refused to a pool that is resized",
               memory_that_is_refused_to_a_pool_that_is_resized);
    return check_report();
}
