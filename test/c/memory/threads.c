// The managers as the Workers of a server use them: every thread allocates, fills, reads, copies
// and frees memory of all types, at times while another thread resets and creates the managers.

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "owned_memory.h"
#include "simulated_cuda.h"
#include "threads.h"

enum {
    DEVICE_COUNT = 2,
    GPU_POOL_BYTE_SIZE = 32 * 1024,
    PINNED_POOL_BYTE_SIZE = 32 * 1024,
    MEMORIES_PER_THREAD = 12,
    BYTE_SIZE_MAX = 16 * 1024,
    STEP_COUNT = 40 * 1000, // of all threads together
};

static int thread_count;

static void create(void)
{
    enum memory_status status = cuda_memory_create(
        (const double[]){0, 1}, (const double[]){GPU_POOL_BYTE_SIZE, GPU_POOL_BYTE_SIZE},
        DEVICE_COUNT, 0);
    CHECK(status == MEMORY_OK, "cuda_memory_create: %d, %s", status, memory_message());
    status = pinned_memory_create(PINNED_POOL_BYTE_SIZE, 0, INFINITY);
    CHECK(status == MEMORY_OK, "pinned_memory_create: %d, %s", status, memory_message());
}

static void reset(void)
{
    enum memory_status status = cuda_memory_reset();
    CHECK(status == MEMORY_OK, "cuda_memory_reset: %d, %s", status, memory_message());
    status = pinned_memory_reset();
    CHECK(status == MEMORY_OK, "pinned_memory_reset: %d, %s", status, memory_message());
}

// ---- Memory and what is in it

struct memory {
    struct memory_allocation allocation;
    size_t byte_size; // 0 for none
    unsigned char content;
};

// Whether resets may take memory away. A copy may be refused only then.
static bool resets_happen;

static bool is_done(enum memory_status status, const char *call)
{
    if (status == MEMORY_OK) return true;
    CHECK(resets_happen && status == MEMORY_UNAVAILABLE, "%s: %d, %s", call, status,
          memory_message());
    return false;
}

static void fill(struct memory *memory, unsigned char content)
{
    unsigned char bytes[BYTE_SIZE_MAX];
    memset(bytes, content, memory->byte_size);
    enum memory_status status =
        allocated_memory_write(&memory->allocation, 0, bytes, (double)memory->byte_size, NULL);
    if (is_done(status, "allocated_memory_write")) memory->content = content;
}

static void expect_content(const struct memory *memory)
{
    unsigned char bytes[BYTE_SIZE_MAX];
    enum memory_status status =
        allocated_memory_read(&memory->allocation, 0, bytes, (double)memory->byte_size, NULL);
    if (!is_done(status, "allocated_memory_read")) return;
    for (size_t i = 0; i < memory->byte_size; i++) {
        CHECK(bytes[i] == memory->content, "byte %zu of %zu is %d, was written as %d: type %u", i,
              memory->byte_size, bytes[i], memory->content, memory_type_of(&memory->allocation));
    }
}

static void alloc_memory(struct memory *memory, struct random *random)
{
    size_t byte_size = random_log_uniform(random, BYTE_SIZE_MAX);
    // MEMORY_CPU comes from the pinned pool too, where there is room.
    double memory_type = (double)random_below(random, 3);
    double device_id = (double)random_below(random, DEVICE_COUNT);
    enum memory_status status = owned_memory_alloc(&memory->allocation, (double)byte_size,
                                                   memory_type, device_id, memory_owner());
    CHECK(status >= MEMORY_OK, "allocated_memory_alloc: %d, %s", status, memory_message());
    memory->byte_size = byte_size;
    fill(memory, (unsigned char)random_below(random, 256));
}

static enum memory_status try_free(const struct memory_allocation *allocation)
{
    return owned_memory_free(allocation, memory_owner());
}

static void free_memory(struct memory *memory)
{
    enum memory_status status = try_free(&memory->allocation);
    CHECK(status == MEMORY_OK, "allocated_memory_free: %d, %s", status, memory_message());
    memory->byte_size = 0;
}

static void copy_between(struct memory *target, const struct memory *source)
{
    size_t byte_size = source->byte_size;
    if (byte_size > target->byte_size) byte_size = target->byte_size;
    enum memory_status status = allocated_memory_copy(&target->allocation, 0, &source->allocation,
                                                      0, (double)byte_size, NULL);
    if (!is_done(status, "allocated_memory_copy")) return;
    // The rest of the target keeps its bytes, so all of it is filled alike again.
    if (byte_size == target->byte_size) target->content = source->content;
    else fill(target, target->content);
}

static void use_memory(int number)
{
    struct memory memories[MEMORIES_PER_THREAD] = {0};
    struct random random = random_stream((uint64_t)number);
    for (int step = 0; step < STEP_COUNT / thread_count; step++) {
        struct memory *chosen = &memories[random_below(&random, MEMORIES_PER_THREAD)];
        struct memory *other = &memories[random_below(&random, MEMORIES_PER_THREAD)];
        if (chosen->byte_size == 0) {
            alloc_memory(chosen, &random);
            continue;
        }
        expect_content(chosen);
        switch (random_below(&random, 4)) {
        case 0:
            fill(chosen, (unsigned char)random_below(&random, 256));
            break;
        case 1:
            if (other != chosen && other->byte_size != 0) copy_between(chosen, other);
            break;
        default:
            free_memory(chosen);
        }
    }
    for (int i = 0; i < MEMORIES_PER_THREAD; i++) {
        if (memories[i].byte_size != 0) free_memory(&memories[i]);
    }
}

// ---- The cases

static void expect_sound_stats(const struct memory_pool_stats *stats, double capacity)
{
    CHECK(stats->capacity_byte_size == capacity, "the capacity is %.0f", stats->capacity_byte_size);
    CHECK(stats->used_byte_size + stats->free_byte_size == capacity, "used and free add up");
    CHECK(stats->largest_free_byte_size <= stats->free_byte_size, "no free block above the sum");
}

static void read_stats(void)
{
    struct memory_pool_stats stats;
    for (int device = 0; device < DEVICE_COUNT; device++) {
        if (cuda_memory_stats(device, &stats) == MEMORY_OK) {
            expect_sound_stats(&stats, GPU_POOL_BYTE_SIZE);
        }
    }
    // All statistics are 0 where there is no pool.
    if (pinned_memory_stats(&stats) == MEMORY_OK && stats.capacity_byte_size != 0) {
        expect_sound_stats(&stats, PINNED_POOL_BYTE_SIZE);
    }
    sleep_microseconds(300);
}

static void expect_all_pools_free(void)
{
    simulated_cuda_expect_pools_emptied(DEVICE_COUNT, GPU_POOL_BYTE_SIZE);
    struct memory_pool_stats stats;
    CHECK(pinned_memory_stats(&stats) == MEMORY_OK && stats.allocation_count == 0 &&
              stats.largest_free_byte_size == PINNED_POOL_BYTE_SIZE,
          "pinned memory: %.0f blocks are left", stats.allocation_count);
    CHECK(stats.failed_allocation_count > 0, "pinned memory was never full");
    CHECK(pinned_memory_nonpinned_count() == 0, "non-pinned memory is left");
}

static void memory_stays_its_owners(void)
{
    create();
    threads_run_beside(thread_count, use_memory, read_stats);
    expect_all_pools_free();
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

// These are the managers' own calls, which name memory by its address alone.
static void use_managers(int number)
{
    struct random random = random_stream(100 + (uint64_t)number);
    double device_id = number % DEVICE_COUNT;
    for (int step = 0; step < STEP_COUNT / thread_count; step++) {
        double byte_size = (double)random_log_uniform(&random, BYTE_SIZE_MAX);
        double address = cuda_memory_alloc(byte_size, device_id);
        if (address <= 0) {
            CHECK(address == MEMORY_OUT_OF_MEMORY, "%s", memory_message());
        } else {
            CHECK(cuda_memory_free(address + 1, device_id) == MEMORY_INVALID_ARG, "misaligned");
            enum memory_status status = cuda_memory_free(address, device_id);
            CHECK(status == MEMORY_OK, "cuda_memory_free: %d, %s", status, memory_message());
        }
        struct memory_allocation allocation;
        enum memory_status status =
            pinned_memory_alloc(&allocation, byte_size, (int32_t)(step % 2));
        CHECK(status >= MEMORY_OK || (step % 2 == 0 && status == MEMORY_OUT_OF_MEMORY),
              "pinned_memory_alloc: %d, %s", status, memory_message());
        if (status < MEMORY_OK) continue;
        // Host memory can be written to by the CPU.
        memset((void *)(uintptr_t)allocation.address, number, (size_t)byte_size);
        CHECK(pinned_memory_free(allocation.address + 1) == MEMORY_INVALID_ARG, "misaligned");
        status = pinned_memory_free(allocation.address);
        CHECK(status == MEMORY_OK, "pinned_memory_free: %d, %s", status, memory_message());
    }
}

static void managers_serve_all_threads(void)
{
    create();
    threads_run_beside(thread_count, use_managers, read_stats);
    struct memory_pool_stats stats;
    for (int device = 0; device < DEVICE_COUNT; device++) {
        CHECK(cuda_memory_stats(device, &stats) == MEMORY_OK && stats.allocation_count == 0,
              "GPU %d: blocks are left", device);
    }
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

static int reset_count;

static void reset_and_create(void)
{
    read_stats();
    reset();
    // Until create() no manager exists, and requests are served from the system heap.
    if (reset_count++ % 2 == 0) sleep_microseconds(100);
    create();
}

static void resets_take_memory_away_from_its_owners(void)
{
    resets_happen = true;
    create();
    threads_run_beside(thread_count, use_memory, reset_and_create);
    CHECK(reset_count > 3, "only %d resets happened", reset_count);
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
    resets_happen = false;
}

// ---- Resizing

static int resized_count, in_use_count;

// Both sizes of a pool in turn, which nothing of may live meanwhile, and none. The other GPU's is used
// all the time.
static void resize(void)
{
    static const double byte_sizes[] = {GPU_POOL_BYTE_SIZE / 2, 0, GPU_POOL_BYTE_SIZE};
    static int step;
    enum memory_status status = cuda_memory_resize(0, byte_sizes[step % 3]);
    CHECK(status == MEMORY_OK || status == MEMORY_UNAVAILABLE, "cuda_memory_resize: %d, %s", status,
          memory_message());
    if (status == MEMORY_OK) {
        step++;
        resized_count++;
    } else {
        CHECK(strstr(memory_message(), "memory of it is in use") != NULL, "%s", memory_message());
        in_use_count++;
    }
}

// Few of them live at a time, so that the pool is empty now and then.
static void use_memory_briefly(int number)
{
    struct random random = random_stream(1000 + (uint64_t)number);
    for (int step = 0; step < STEP_COUNT / thread_count; step++) {
        struct memory memory = {0};
        alloc_memory(&memory, &random);
        expect_content(&memory);
        free_memory(&memory);
        if (step % 64 == 0) sleep_microseconds(20);
    }
}

static void a_pool_is_resized_only_while_nothing_of_it_lives(void)
{
    create();
    // No memory is ever gone that somebody has, which resets_happen would allow.
    threads_run_beside(thread_count, use_memory_briefly, resize);
    CHECK(resized_count > 3, "the pool was resized only %d times", resized_count);
    CHECK(in_use_count > 3, "the pool was in use only %d times", in_use_count);
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

static atomic_int created_count;

static void create_and_reset_with_others(int number)
{
    for (int round = 0; round < 100; round++) {
        enum memory_status status = cuda_memory_create((const double[]){number % DEVICE_COUNT},
                                                       (const double[]){GPU_POOL_BYTE_SIZE}, 1, 0);
        CHECK(status == MEMORY_OK || status == MEMORY_ALREADY_EXISTS, "cuda_memory_create: %d, %s",
              status, memory_message());
        created_count += status == MEMORY_OK;
        status = pinned_memory_create(PINNED_POOL_BYTE_SIZE, 0, INFINITY);
        CHECK(status == MEMORY_OK || status == MEMORY_ALREADY_EXISTS,
              "pinned_memory_create: %d, %s", status, memory_message());
        if (round % 2 == number % 2) reset();
    }
}

static void threads_that_create_at_once_make_one_manager(void)
{
    created_count = 0;
    threads_run(thread_count, create_and_reset_with_others);
    CHECK(created_count > 0, "no thread created a manager");
    reset();
    simulated_cuda_expect_nothing_live(DEVICE_COUNT);
}

int main(void)
{
    // The devices are small because ThreadSanitizer cannot map large ones.
    simulated_cuda_bind("9.0:1048576,8.0:1048576");
    thread_count = threads_beyond_processors();
    check_case("memory stays its owner's", memory_stays_its_owners);
    check_case("managers serve all threads", managers_serve_all_threads);
    check_case("resets take memory away from its owners", resets_take_memory_away_from_its_owners);
    check_case("a pool is resized only while nothing of it lives",
               a_pool_is_resized_only_while_nothing_of_it_lives);
    check_case("threads that create at once make one manager",
               threads_that_create_at_once_make_one_manager);
    return check_report();
}
