// All memory that a pool needs of the system is refused in turn, one call at a time. Each time the
// caller gets an error, the pool stays what the model says, and nothing is lost.

#include <inttypes.h>
#include <stddef.h>

#include "check.h"
#include "checked_pool.h"
#include "failing_calls.h"

enum {
    GRANULE_COUNT = 400 * 1000,
    // So many blocks let every table grow several times.
    FILL_COUNT = 18 * 1000,
    CHURN_COUNT = 1000,
    // Where every call is refused, further refusals would test nothing new.
    REFUSALS_IN_A_ROW_MAX = 200,
};

static const uint64_t BASE = UINT64_C(0x7f0000000000);

static struct checked_pool checked = {.fault_count = &failed_call_count};

static uint64_t random_byte_size(struct random *random)
{
    bool is_large = random_below(random, 100) == 0;
    uint64_t granule_count =
        is_large ? random_log_uniform(random, 2000) : 1 + random_below(random, 3);
    return granule_count * POOL_GRANULE_BYTE_SIZE - random_below(random, POOL_GRANULE_BYTE_SIZE);
}

// Verifies the pool after each refusal, unless many follow each other, and otherwise now and then.
static void verify(int step)
{
    static uint64_t failures_seen;
    static int verified_in_a_row;
    bool was_refused = failed_call_count != failures_seen;
    failures_seen = failed_call_count;
    verified_in_a_row = was_refused ? verified_in_a_row + 1 : 0;
    if ((was_refused && verified_in_a_row < 10) || step % 8000 == 0) checked_verify(&checked);
}

static void open_with_retries(void)
{
    uint64_t byte_size = (uint64_t)GRANULE_COUNT * POOL_GRANULE_BYTE_SIZE;
    enum pool_status status = checked_open(&checked, BASE, byte_size);
    if (status == POOL_OK) return;
    checked_verify(&checked);
    CHECK(live_map_count == 0, "%" PRId64 " maps are left of a pool that did not open",
          live_map_count);
    CHECK(checked_alloc(&checked, 1) == POOL_CLOSED, "a pool that did not open is closed");
    fail_call(0, false); // The system has memory again.
    CHECK(checked_open(&checked, BASE, byte_size) == POOL_OK, "it opens once there is memory");
}

static void run(void)
{
    struct random random = random_stream(1);
    open_with_retries();
    int refusals_in_a_row = 0;
    for (int step = 0; step < FILL_COUNT && refusals_in_a_row < REFUSALS_IN_A_ROW_MAX; step++) {
        bool is_served = checked_alloc(&checked, random_byte_size(&random)) == POOL_OK;
        refusals_in_a_row = is_served ? 0 : refusals_in_a_row + 1;
        verify(step);
    }
    for (int step = 0; step < CHURN_COUNT; step++) {
        if (random_below(&random, 2) == 0) {
            checked_alloc(&checked, random_byte_size(&random));
        } else if (checked.model.block_count > 0) {
            size_t index = random_below(&random, checked.model.block_count);
            checked_free(&checked, pool_model_address(&checked.model, index), 0);
        }
        verify(step);
    }
    checked_verify(&checked);
    fail_call(0, false);
    for (int step = 0; step < CHURN_COUNT; step++) {
        // The system has memory again: only a full pool may refuse.
        checked_alloc(&checked, random_byte_size(&random));
    }
    checked_verify(&checked);
    checked_free_all(&checked); // Freeing needs no memory, so that no call can be refused.
    checked_verify(&checked);
    CHECK(pool_model_largest_gap(&checked.model) == GRANULE_COUNT, "everything is free again");
    checked_close(&checked);
    CHECK(live_map_count == 0, "%" PRId64 " maps are left of a closed pool", live_map_count);
}

// Returns how many calls there were to refuse.
static uint64_t refuse_each_in_turn(bool for_good)
{
    for (uint64_t nth = 1;; nth++) {
        uint64_t before = failed_call_count;
        fail_call(nth, for_good);
        run();
        fail_call(0, false);
        if (failed_call_count == before) return nth - 1;
        CHECK(for_good || failed_call_count == before + 1, "only one call was to fail");
    }
}

static void expect_enough(uint64_t refused_count)
{
    // Opening reserves two tables and grows each by a first step; further steps come later.
    CHECK(refused_count >= 8, "only %" PRIu64 " calls could be refused", refused_count);
}

static void memory_that_is_refused_once(void)
{
    expect_enough(refuse_each_in_turn(false));
}

static void memory_that_is_refused_from_then_on(void)
{
    expect_enough(refuse_each_in_turn(true));
}

static void a_pool_that_cannot_move_is_as_it_was(void)
{
    static struct pool pool;
    const uint64_t byte_size = UINT64_C(100) * POOL_GRANULE_BYTE_SIZE;
    struct pool_block block;
    CHECK(pool_open(&pool, BASE, byte_size) == POOL_OK, "it opens");
    uint64_t generation = pool_generation(&pool);
    uint64_t nth = 1;
    for (;; nth++) {
        uint64_t before = failed_call_count;
        fail_call(nth, true);
        enum pool_status status = pool_reopen(&pool, 2 * BASE, 2 * byte_size);
        fail_call(0, false);
        if (failed_call_count == before) {
            CHECK(status == POOL_OK, "it moves once there is memory");
            break;
        }
        CHECK(status == POOL_OUT_OF_METADATA && pool_generation(&pool) == generation, "%d", status);
        CHECK(pool_broken_invariant(&pool) == NULL, "%s", pool_broken_invariant(&pool));
        CHECK(pool_alloc(&pool, byte_size, 0, &block, NULL) == POOL_OK && block.address == BASE,
              "it serves");
        CHECK(pool_free(&pool, block.address, generation, 0) == POOL_OK, "its block is freed");
    }
    CHECK(nth > 4, "two tables are reserved, and grow by a first step each");
    CHECK(pool_close_unused(&pool) == POOL_OK, "nothing lives in it");
    CHECK(live_map_count == 0, "%" PRId64 " maps are left of a closed pool", live_map_count);
}

int main(void)
{
    check_case("memory that is refused once", memory_that_is_refused_once);
    check_case("memory that is refused from then on", memory_that_is_refused_from_then_on);
    check_case("a pool that cannot move is as it was", a_pool_that_cannot_move_is_as_it_was);
    return check_report();
}
