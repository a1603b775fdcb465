// The limit of non-pinned memory, which no race of threads gets past.

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
    LIMIT_BYTE_SIZE = 64 * 1024,
    BYTE_SIZE_MAX = 16 * 1024,
    MEMORIES_PER_THREAD = 8,
    STEP_COUNT = 4000, // of each thread
};

// Without a pool of its own pinned memory is never what a request gets.
static void create(double limit_byte_size)
{
    CHECK(pinned_memory_create(0, 0, limit_byte_size) == MEMORY_OK, "%s", memory_message());
}

static enum memory_status alloc(struct memory_allocation *memory, double byte_size)
{
    return owned_memory_alloc(memory, byte_size, MEMORY_CPU, 0, memory_owner());
}

static void free_memory(const struct memory_allocation *memory)
{
    CHECK(owned_memory_free(memory, memory_owner()) == MEMORY_OK, "%s", memory_message());
}

// All of the limit can be had, and not a byte more.
static void expect_all_free(void)
{
    struct memory_allocation all, more;
    CHECK(alloc(&all, LIMIT_BYTE_SIZE) >= MEMORY_OK, "%s", memory_message());
    CHECK(alloc(&more, 1) == MEMORY_OUT_OF_MEMORY, "the limit is one");
    CHECK(strstr(memory_message(), "(65536 of 65536 bytes are in use)") != NULL, "%s",
          memory_message());
    free_memory(&all);
}

static _Atomic int64_t live_byte_size;
static _Atomic int refused_count;

static void alloc_and_free(int number)
{
    struct random random = random_stream((uint64_t)number + 1);
    struct memory_allocation memories[MEMORIES_PER_THREAD] = {0};
    for (int step = 0; step < STEP_COUNT; step++) {
        struct memory_allocation *memory = &memories[random_below(&random, MEMORIES_PER_THREAD)];
        if (memory->byte_size != 0) {
            // What is counted here is never more than what is taken there.
            live_byte_size -= (int64_t)memory->byte_size;
            free_memory(memory);
            memory->byte_size = 0;
            continue;
        }
        enum memory_status status =
            alloc(memory, (double)random_log_uniform(&random, BYTE_SIZE_MAX));
        if (status >= MEMORY_OK) {
            int64_t live = live_byte_size += (int64_t)memory->byte_size;
            CHECK(live <= LIMIT_BYTE_SIZE, "%" PRId64 " bytes live", live);
            continue;
        }
        CHECK(status == MEMORY_OUT_OF_MEMORY, "%d, %s", status, memory_message());
        CHECK(strstr(memory_message(), "of 65536 bytes are in use") != NULL, "%s",
              memory_message());
        memory->byte_size = 0;
        refused_count++;
    }
    for (int i = 0; i < MEMORIES_PER_THREAD; i++) {
        if (memories[i].byte_size == 0) continue;
        live_byte_size -= (int64_t)memories[i].byte_size;
        free_memory(&memories[i]);
    }
}

static void threads_stay_below_the_limit(void)
{
    create(LIMIT_BYTE_SIZE);
    threads_run(threads_beyond_processors(), alloc_and_free);
    CHECK(refused_count > 0, "the limit was never reached");
    expect_all_free();
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
}

static void what_is_held_or_pending_counts_until_it_goes(void)
{
    create(LIMIT_BYTE_SIZE);
    struct memory_allocation held, more;
    CHECK(alloc(&held, LIMIT_BYTE_SIZE) >= MEMORY_OK, "%s", memory_message());
    double hold = memory_hold_begin(&held);
    CHECK(hold > 0, "%s", memory_message());
    free_memory(&held);
    CHECK(alloc(&more, 1) == MEMORY_OUT_OF_MEMORY, "it is not the system's yet");
    memory_hold_end(hold);
    expect_all_free();

    struct cuda_stream stream;
    CHECK(cuda_stream_create(&stream, 0) == MEMORY_OK, "%s", memory_message());
    CHECK(alloc(&held, LIMIT_BYTE_SIZE) >= MEMORY_OK, "%s", memory_message());
    CHECK(owned_memory_free_on_stream(&held, &stream, memory_owner()) == MEMORY_OK, "%s",
          memory_message());
    CHECK(cuda_stream_synchronize(&stream) == MEMORY_OK, "%s", memory_message());
    expect_all_free(); // a request that is refused looks what streams have done with
    CHECK(cuda_stream_destroy(&stream) == MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
}

static void a_reset_takes_the_limit_away(void)
{
    create(LIMIT_BYTE_SIZE);
    struct memory_allocation memory;
    CHECK(alloc(&memory, LIMIT_BYTE_SIZE) >= MEMORY_OK, "%s", memory_message());
    CHECK(pinned_memory_create(0, 0, INFINITY) == MEMORY_ALREADY_EXISTS, "there is one");
    CHECK(alloc(&memory, 1) == MEMORY_OUT_OF_MEMORY, "a second manager changes no limit");
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
    CHECK(alloc(&memory, LIMIT_BYTE_SIZE + 1) >= MEMORY_OK, "%s", memory_message());
    // A limit below what is taken refuses until enough is given back.
    create(LIMIT_BYTE_SIZE);
    struct memory_allocation more;
    CHECK(alloc(&more, 1) == MEMORY_OUT_OF_MEMORY, "more is taken than there may be");
    free_memory(&memory);
    expect_all_free();
    CHECK(pinned_memory_reset() == MEMORY_OK, "%s", memory_message());
}

int main(void)
{
    simulated_cuda_bind("9.0:1048576");
    check_case("threads stay below the limit", threads_stay_below_the_limit);
    check_case("what is held or pending counts until it goes",
               what_is_held_or_pending_counts_until_it_goes);
    check_case("a reset takes the limit away", a_reset_takes_the_limit_away);
    simulated_cuda_expect_nothing_live(1);
    return check_report();
}
