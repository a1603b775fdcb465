// Requests that wait, of more threads than there are processors: nobody is forgotten, nothing is held
// by a request that was given up, and limits hold.

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "check.h"
#include "memory/pools.h"
#include "owned_memory.h"
#include "pool/account.h"
#include "stream_fixture.h"
#include "threads.h"

enum { STEP_COUNT = 20 * 1000 }; // of all threads together

static int thread_count;
static double account_keys[2];

static double begin_for(int32_t owner, double byte_size, double memory_type, double account_key)
{
    struct memory_allocation wanted = {.owner = owner};
    double wait = memory_wait_begin(&wanted, byte_size, memory_type, account_key, NULL);
    CHECK(wait > 0, "memory_wait_begin: %.0f, %s", wait, memory_message());
    return wait;
}

static bool try_to_take(double wait, struct memory_allocation *memory)
{
    enum memory_status status = memory_wait_take(wait, memory);
    CHECK(status == MEMORY_OK || status == MEMORY_NOT_DONE, "%d, %s", status, memory_message());
    return status == MEMORY_OK;
}

static void free_served(const struct memory_allocation *memory)
{
    enum memory_status status = owned_memory_free(memory, (int32_t)memory->owner);
    CHECK(status == MEMORY_OK || status == MEMORY_OK_SERVED, "%d, %s", status, memory_message());
}

static double waiting_count_of_gpu(void)
{
    struct memory_pool_stats stats;
    CHECK(cuda_memory_stats(0, &stats) == MEMORY_OK, "%s", memory_message());
    return stats.waiting_count;
}

static void requests_are_served_in_order(void)
{
    set_up();
    const int32_t owner = memory_owner();
    struct memory_allocation held = alloc_now(POOL_BYTE_SIZE), memory = {.owner = owner};
    double large = begin_for(owner, POOL_BYTE_SIZE, MEMORY_GPU, 0);
    double small = begin_for(owner, 512, MEMORY_GPU, 0);
    CHECK(waiting_count_of_gpu() == 2, "both wait");
    CHECK(!try_to_take(large, &memory) && !try_to_take(small, &memory), "the pool is full");
    CHECK(owned_memory_free(&held, owner) == MEMORY_OK_SERVED, "somebody is served");
    CHECK(!try_to_take(small, &memory), "the first goes first, though the other fits too");
    CHECK(try_to_take(large, &memory), "the first");
    free_served(&memory);
    CHECK(try_to_take(small, &memory), "the second");
    free_served(&memory);
    CHECK(waiting_count_of_gpu() == 0, "nobody waits");
    tear_down();
}

static void who_gives_up_holds_nothing(void)
{
    set_up();
    const int32_t owner = memory_owner();
    struct memory_allocation held = alloc_now(POOL_BYTE_SIZE), memory = {.owner = owner};
    double first = begin_for(owner, POOL_BYTE_SIZE, MEMORY_GPU, 0);
    double second = begin_for(owner, POOL_BYTE_SIZE, MEMORY_GPU, 0);
    CHECK(owned_memory_free(&held, owner) == MEMORY_OK_SERVED, "the first is served");
    CHECK(memory_wait_end(first) == MEMORY_OK_SERVED, "what it gives up serves the second");
    CHECK(try_to_take(second, &memory), "the second");
    free_served(&memory);
    tear_down();
}

// ---- Many threads

static void try_once(struct random *random, int32_t owner)
{
    double byte_size = (double)(1 + random_below(random, POOL_BYTE_SIZE));
    double memory_type = random_below(random, 2) == 0 ? MEMORY_GPU : MEMORY_CPU_PINNED;
    uint64_t account = random_below(random, 3);
    double key = account == 2 ? 0 : account_keys[account];
    if (account == 0) byte_size = (double)(1 + random_below(random, POOL_BYTE_SIZE / 4));
    struct memory_allocation memory = {.owner = owner};
    double wait = begin_for(owner, byte_size, memory_type, key);
    uint64_t patience = random_below(random, 100);
    while (!try_to_take(wait, &memory)) {
        if (patience-- == 0) {
            (void)memory_wait_end(wait);
            return;
        }
        sleep_microseconds(1);
    }
    free_served(&memory);
}

static void wait_at_random(int number)
{
    struct random random = random_stream((uint64_t)number);
    int32_t owner = memory_owner();
    for (int step = 0; step < STEP_COUNT / thread_count; step++) try_once(&random, owner);
}

static void threads_wait_for_each_other(void)
{
    set_up();
    double references[2];
    const char *const names[2] = {"limited", "unlimited"};
    for (int i = 0; i < 2; i++) {
        account_keys[i] = account_open(names[i]);
        references[i] = account_reference_make();
        CHECK(account_reference_begin(references[i], account_keys[i]) > 0, "it is there");
    }
    CHECK(account_set_limit(account_keys[0], POOL_BYTE_SIZE / 4) == MEMORY_OK, "a limit");
    thread_count = threads_beyond_processors();
    threads_run(thread_count, wait_at_random);
    CHECK(waiting_count_of_gpu() == 0, "nobody waits any more");
    for (int i = 0; i < 2; i++) {
        struct memory_account_stats stats;
        account_read_stats(account_keys[i], -1, &stats);
        CHECK(stats.used_byte_size == 0 && stats.allocation_count == 0, "all is credited");
        CHECK(stats.cumulative_allocation_count > 0, "it was charged");
        if (i == 0) CHECK(stats.peak_used_byte_size <= POOL_BYTE_SIZE / 4, "the limit held");
        CHECK(account_set_limit(account_keys[i], (double)INFINITY) == MEMORY_OK, "no limit");
        account_reference_end(NULL, (void *)(uintptr_t)references[i]);
    }
    double keys[4];
    CHECK(account_list(keys, 4) == 0, "both are forgotten");
    tear_down();
}

// ---- Threads that end

static void wait_and_end(int number)
{
    (void)number;
    (void)begin_for(memory_owner(), POOL_BYTE_SIZE, MEMORY_GPU, 0);
}

static void what_an_ended_thread_waited_for_goes_to_others(void)
{
    set_up();
    const int32_t owner = memory_owner();
    struct memory_allocation held = alloc_now(POOL_BYTE_SIZE), memory = {.owner = owner};
    threads_run(3, wait_and_end);
    double wait = begin_for(owner, 512, MEMORY_GPU, 0);
    CHECK(waiting_count_of_gpu() == 1, "the others have ended");
    CHECK(owned_memory_free(&held, owner) == MEMORY_OK_SERVED, "and are not served");
    CHECK(try_to_take(wait, &memory), "this one is");
    free_served(&memory);
    // The first of these is served by the time its thread is known to have ended.
    threads_run(2, wait_and_end);
    wait = begin_for(owner, POOL_BYTE_SIZE, MEMORY_GPU, 0);
    (void)memory_wait_poll(owner);
    CHECK(try_to_take(wait, &memory), "what was served to an ended thread is freed");
    free_served(&memory);
    tear_down();
}

int main(void)
{
    stream_fixture_bind();
    check_case("requests are served in order", requests_are_served_in_order);
    check_case("who gives up holds nothing", who_gives_up_holds_nothing);
    check_case("threads wait for each other", threads_wait_for_each_other);
    check_case("what an ended thread waited for goes to others",
               what_an_ended_thread_waited_for_goes_to_others);
    return check_report();
}
