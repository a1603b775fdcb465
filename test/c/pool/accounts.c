// Accounts: several pools charge one account, in many threads.

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>

#include "check.h"
#include "pool/pool.h"
#include "threads.h"

enum {
    POOL_COUNT = 3,
    GRANULE_COUNT = 1024,
    LIMIT_GRANULE_COUNT = 600,
    BLOCKS_PER_THREAD = 24,
    STEP_COUNT = 300 * 1000, // of all threads together
    ACCOUNT = 5,
    OTHER_ACCOUNT = 2000, // in a line that the tables grow for
};

static struct pool pools[POOL_COUNT];

static uint64_t base_of(int index)
{
    return UINT64_C(0x7f0000000000) + (uint64_t)index * GRANULE_COUNT * POOL_GRANULE_BYTE_SIZE;
}

static void open_pools(void)
{
    for (int i = 0; i < POOL_COUNT; i++) {
        CHECK(pool_open(&pools[i], base_of(i), GRANULE_COUNT * POOL_GRANULE_BYTE_SIZE) == POOL_OK,
              "a pool opens");
    }
}

static void expect_sound(void)
{
    for (int i = 0; i < POOL_COUNT; i++) {
        const char *broken = pool_broken_invariant(&pools[i]);
        CHECK(broken == NULL, "%s", broken);
    }
}

static void close_pools(void)
{
    expect_sound();
    for (int i = 0; i < POOL_COUNT; i++) pool_close(&pools[i]);
}

static uint64_t used_by(uint32_t account)
{
    return account_granules_of(accounts[account].charged);
}

static struct pool_client client_of(uint32_t account)
{
    return (struct pool_client){.account_key = account_key(account)};
}

static enum pool_status try_alloc(int pool, uint64_t granule_count, struct pool_client client,
                                  struct pool_block *block)
{
    return pool_alloc_for(&pools[pool], granule_count * POOL_GRANULE_BYTE_SIZE, &client, block,
                          NULL);
}

static struct account_usage usage_of(int pool, uint32_t account)
{
    struct account_usage usage;
    pool_read_account_usage(&pools[pool], account_key(account), &usage);
    return usage;
}

// ---- One thread

static void a_block_is_charged_until_it_is_free(void)
{
    open_pools();
    account_begin(ACCOUNT);
    struct pool_block first, second;
    CHECK(try_alloc(0, 3, client_of(ACCOUNT), &first) == POOL_OK, "the first");
    CHECK(try_alloc(1, 4, client_of(ACCOUNT), &second) == POOL_OK, "the second");
    CHECK(used_by(ACCOUNT) == 7, "both are charged");
    CHECK(pool_account(&pools[0], first.address, 0) == ACCOUNT, "the block says whose it is");
    CHECK(!account_end(ACCOUNT), "an account that has memory goes on");
    CHECK(usage_of(0, ACCOUNT).used_granule_count == 3, "each pool knows its own");
    expect_sound();
    CHECK(pool_free(&pools[0], first.address, 0, 0) == POOL_OK, "the first is freed");
    CHECK(used_by(ACCOUNT) == 4 && usage_of(0, ACCOUNT).live_block_count == 0, "and credited");
    close_pools();
    CHECK(used_by(ACCOUNT) == 0, "a pool that is closed credits what lives in it");
    CHECK(usage_of(1, ACCOUNT).peak_granule_count == 4, "and remembers");
    CHECK(account_end(ACCOUNT), "nothing is left");
}

static void a_limit_holds_for_all_pools(void)
{
    open_pools();
    account_begin(ACCOUNT);
    accounts[ACCOUNT].limit_granule_count = 10;
    struct pool_block block;
    CHECK(try_alloc(0, 6, client_of(ACCOUNT), &block) == POOL_OK, "within the limit");
    CHECK(try_alloc(1, 5, client_of(ACCOUNT), &block) == POOL_OVER_LIMIT, "beyond it");
    CHECK(try_alloc(2, GRANULE_COUNT + 1, client_of(ACCOUNT), &block) == POOL_TOO_LARGE, "never");
    CHECK(try_alloc(1, 4, client_of(ACCOUNT), &block) == POOL_OK, "up to it");
    CHECK(used_by(ACCOUNT) == 10 && accounts[ACCOUNT].peak_granule_count == 10, "all of it");
    close_pools();
    CHECK(account_end(ACCOUNT), "nothing is left");
}

static void a_full_pool_charges_nothing(void)
{
    open_pools();
    account_begin(ACCOUNT);
    struct pool_block block;
    CHECK(try_alloc(0, GRANULE_COUNT, (struct pool_client){0}, &block) == POOL_OK, "all of it");
    CHECK(try_alloc(0, 1, client_of(ACCOUNT), &block) == POOL_FULL, "nothing is left");
    CHECK(used_by(ACCOUNT) == 0, "what was not got is not charged");
    close_pools();
    CHECK(account_end(ACCOUNT), "nothing is left");
}

static void a_key_is_of_one_term(void)
{
    open_pools();
    account_begin(OTHER_ACCOUNT);
    struct pool_client former = client_of(OTHER_ACCOUNT);
    struct pool_block block;
    CHECK(try_alloc(0, 2, former, &block) == POOL_OK, "the first term");
    CHECK(pool_free(&pools[0], block.address, 0, 0) == POOL_OK, "is over");
    CHECK(account_end(OTHER_ACCOUNT), "an account without memory ends");
    CHECK(try_alloc(0, 2, former, &block) == POOL_ACCOUNT_ENDED, "its key charges nothing");
    account_begin(OTHER_ACCOUNT);
    CHECK(try_alloc(0, 2, former, &block) == POOL_ACCOUNT_ENDED, "nor does it charge the next");
    CHECK(usage_of(0, OTHER_ACCOUNT).allocation_count == 0, "which begins with nothing");
    CHECK(try_alloc(0, 1, client_of(OTHER_ACCOUNT), &block) == POOL_OK, "the second term");
    CHECK(usage_of(0, OTHER_ACCOUNT).peak_granule_count == 1, "and has its own figures");
    close_pools();
    CHECK(account_end(OTHER_ACCOUNT), "nothing is left");
}

static void a_block_changes_hands(void)
{
    open_pools();
    account_begin(ACCOUNT);
    account_begin(OTHER_ACCOUNT);
    accounts[OTHER_ACCOUNT].limit_granule_count = 4;
    struct pool_block block;
    CHECK(try_alloc(0, 5, client_of(ACCOUNT), &block) == POOL_OK, "a block");
    struct pool_client other = client_of(OTHER_ACCOUNT);
    other.owner = 9;
    CHECK(pool_exchange_client(&pools[0], block.address, 0, 0, &other) == POOL_OVER_LIMIT,
          "the other may not have as much");
    CHECK(used_by(ACCOUNT) == 5 && used_by(OTHER_ACCOUNT) == 0, "nothing is changed");
    accounts[OTHER_ACCOUNT].limit_granule_count = 5;
    CHECK(pool_exchange_client(&pools[0], block.address, 0, 0, &other) == POOL_OK, "now he may");
    CHECK(used_by(ACCOUNT) == 0 && used_by(OTHER_ACCOUNT) == 5, "it is his");
    CHECK(pool_exchange_client(&pools[0], block.address, 0, 0, &other) == POOL_OK,
          "his own block charges him nothing more");
    CHECK(used_by(OTHER_ACCOUNT) == 5, "it is his");
    struct pool_client nobody = {.owner = 9};
    CHECK(pool_exchange_client(&pools[0], block.address, 0, 0, &nobody) == POOL_OK, "and nobody's");
    CHECK(used_by(OTHER_ACCOUNT) == 0, "he is credited");
    CHECK(pool_free(&pools[0], block.address, 0, 9) == POOL_OK, "it has its new owner");
    close_pools();
    CHECK(account_end(ACCOUNT) && account_end(OTHER_ACCOUNT), "nothing is left");
}

static void an_awaited_pool_serves_those_who_have_waited(void)
{
    open_pools();
    pool_set_awaited(&pools[0], true);
    struct pool_block block;
    CHECK(try_alloc(0, 1, (struct pool_client){0}, &block) == POOL_AWAITED, "others are refused");
    CHECK(try_alloc(0, 1, (struct pool_client){.has_waited = true}, &block) == POOL_OK, "served");
    CHECK(pool_free(&pools[0], block.address, 0, 0) == POOL_OK, "freed as ever");
    pool_set_awaited(&pools[0], false);
    CHECK(try_alloc(0, 1, (struct pool_client){0}, &block) == POOL_OK, "all are served");
    pool_set_awaited(&pools[0], true);
    pool_refuse(&pools[0]);
    pool_set_awaited(&pools[0], false);
    CHECK(try_alloc(0, 1, (struct pool_client){.has_waited = true}, &block) == POOL_REFUSING,
          "a pool that refuses refuses all");
    close_pools();
}

// ---- Many threads

struct held_block {
    int pool;
    struct pool_block block;
    uint64_t granule_count; // 0 for none
};

static int thread_count;
static atomic_bool has_passed_limit;

static void exchange(struct held_block *held, struct random *random)
{
    if (held->granule_count != 0) {
        CHECK(pool_free(&pools[held->pool], held->block.address, held->block.generation, 0) ==
                  POOL_OK,
              "a block is its thread's");
        held->granule_count = 0;
        return;
    }
    held->pool = (int)random_below(random, POOL_COUNT);
    uint64_t granule_count = 1 + random_below(random, 16);
    enum pool_status status =
        try_alloc(held->pool, granule_count, client_of(ACCOUNT), &held->block);
    CHECK(status == POOL_OK || status == POOL_OVER_LIMIT || status == POOL_FULL, "status %d",
          (int)status);
    if (status == POOL_OK) held->granule_count = granule_count;
    if (used_by(ACCOUNT) > LIMIT_GRANULE_COUNT) has_passed_limit = true;
}

static void use_account(int number)
{
    struct random random = random_stream((uint64_t)number);
    struct held_block held[BLOCKS_PER_THREAD] = {0};
    for (int step = 0; step < STEP_COUNT / thread_count; step++) {
        exchange(&held[random_below(&random, BLOCKS_PER_THREAD)], &random);
    }
    for (int i = 0; i < BLOCKS_PER_THREAD; i++) {
        if (held[i].granule_count != 0) exchange(&held[i], &random);
    }
}

static void no_race_passes_a_limit(void)
{
    open_pools();
    account_begin(ACCOUNT);
    accounts[ACCOUNT].limit_granule_count = LIMIT_GRANULE_COUNT;
    thread_count = threads_beyond_processors();
    threads_run(thread_count, use_account);
    CHECK(!has_passed_limit, "more than the limit was charged");
    CHECK(accounts[ACCOUNT].peak_granule_count <= LIMIT_GRANULE_COUNT, "nor was it ever");
    CHECK(accounts[ACCOUNT].peak_granule_count > LIMIT_GRANULE_COUNT / 2, "it was used");
    CHECK(used_by(ACCOUNT) == 0, "all is credited");
    for (int i = 0; i < POOL_COUNT; i++) {
        CHECK(usage_of(i, ACCOUNT).used_granule_count == 0, "in each pool");
    }
    close_pools();
    CHECK(account_end(ACCOUNT), "nothing is left");
}

int main(void)
{
    check_case("a block is charged until it is free", a_block_is_charged_until_it_is_free);
    check_case("a limit holds for all pools", a_limit_holds_for_all_pools);
    check_case("a full pool charges nothing", a_full_pool_charges_nothing);
    check_case("a key is of one term", a_key_is_of_one_term);
    check_case("a block changes hands", a_block_changes_hands);
    check_case("an awaited pool serves those who have waited",
               an_awaited_pool_serves_those_who_have_waited);
    check_case("no race passes a limit", no_race_passes_a_limit);
    return check_report();
}
