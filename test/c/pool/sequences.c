// Random and exhaustive sequences of calls in one thread, each compared with the model.

#include <inttypes.h>
#include <stddef.h>

#include "check.h"
#include "checked_pool.h"

static const uint64_t BASE = UINT64_C(0x7f0000000000);

static uint64_t bytes_of(uint64_t granule_count)
{
    return granule_count * POOL_GRANULE_BYTE_SIZE;
}

// ---- Sequences

// The lowest or the highest size of the bin of a size. A bin's sizes agree in the highest bit and
// the six bits after it; in the lowest size all further bits are 0, in the highest all are 1.
static uint64_t bin_edge(struct random *random, uint64_t granule_count)
{
    uint64_t bit_count = 64 - (uint64_t)__builtin_clzll(granule_count);
    uint64_t width = bit_count <= 7 ? 1 : UINT64_C(1) << (bit_count - 7);
    return granule_count / width * width + (random_next(random) & 1) * (width - 1);
}

// Sizes at which a pool's answer changes: at granules, where bins meet, and at the largest free
// block. Most are small, because otherwise a pool would never hold more than a few blocks.
static uint64_t random_byte_size(struct random *random, const struct checked_pool *checked)
{
    uint64_t granule_count = checked->model.granule_count;
    uint64_t percent = random_below(random, 100);
    if (percent < 2) return bytes_of(pool_model_largest_gap(&checked->model));
    if (percent < 4) return bytes_of(pool_model_largest_gap(&checked->model)) + 1;
    if (percent < 5) return bytes_of(granule_count) + random_below(random, bytes_of(granule_count));
    if (percent < 8) return random_log_uniform(random, bytes_of(granule_count));
    uint64_t small = random_log_uniform(random, 1 + granule_count / 256);
    if (percent < 40) return bytes_of(bin_edge(random, small));
    return bytes_of(small) - random_below(random, POOL_GRANULE_BYTE_SIZE);
}

static void free_some_live(struct checked_pool *checked, struct random *random)
{
    if (checked->model.block_count == 0) return;
    size_t index = random_below(random, checked->model.block_count);
    uint64_t generation = random_below(random, 2) == 0 ? 0 : checked->generation;
    uint64_t address = pool_model_address(&checked->model, index);
    uint32_t tag = checked->model.blocks[index].tag;
    if (checked_free(checked, address, generation) == POOL_TAGGED) {
        checked_free_marked(checked, address, generation, (struct pool_mark){POOL_ANY_OWNER, tag});
    }
    // No other block starts there before the next request.
    CHECK(checked_free(checked, address, 0) == POOL_NOT_ALLOCATED, "a block is freed only once");
}

static void free_wrong(struct checked_pool *checked, struct random *random)
{
    uint64_t capacity = bytes_of(checked->model.granule_count);
    uint64_t base = checked->model.base;
    checked_free(checked, base - POOL_GRANULE_BYTE_SIZE, 0);
    checked_free(checked, base + capacity, 0);
    checked_free(checked, 0, 0);
    checked_free(checked, random_next(random), 0);
    // This address is mostly inside a block or in a gap. A block that starts there is freed.
    checked_free(checked, base + bytes_of(random_below(random, checked->model.granule_count)), 0);
    if (checked->model.block_count == 0) return;
    size_t index = random_below(random, checked->model.block_count);
    uint64_t address = pool_model_address(&checked->model, index);
    checked_free(checked, address + 1 + random_below(random, POOL_GRANULE_BYTE_SIZE - 1), 0);
    // Generation 0, which comes before the first, would stand for any.
    CHECK(checked->generation == 1 ||
              checked_free(checked, address, checked->generation - 1) == POOL_CLOSED,
          "a block of another generation is not this pool's");
    CHECK(checked_free(checked, address, checked->generation + 1) == POOL_CLOSED,
          "a block of another generation is not this pool's");
}

// The calls are right and wrong ones: the model knows which.
static void mark_some(struct checked_pool *checked, struct random *random)
{
    uint64_t address = checked->model.base + bytes_of(checked->model.granule_count);
    if (checked->model.block_count > 0) {
        size_t index = random_below(random, checked->model.block_count);
        address = pool_model_address(&checked->model, index);
    }
    uint64_t percent = random_below(random, 100);
    if (percent < 2) address += POOL_GRANULE_BYTE_SIZE;
    if (percent == 2) address++;
    if (percent == 3) address = random_next(random);
    // The generation is mostly that of the pool, or 0, which stands for any.
    uint64_t kind = random_below(random, 16);
    uint64_t generation = kind > 7 ? 0 : kind > 0 ? checked->generation : checked->generation - 1;
    checked_use_mark(checked, random_below(random, 4096), address, generation);
}

// The whole pool is verified once in `verified_every` steps.
static void run_sequence(struct checked_pool *checked, struct random *random, int step_count,
                         int verified_every)
{
    // The pool gets full in one phase and nearly empty in the next.
    int phase_step_count = step_count / 8 + 1;
    uint64_t free_share = 0;
    for (int step = 0; step < step_count; step++) {
        if (step % phase_step_count == 0) {
            bool grows = step / phase_step_count % 2 == 0;
            free_share = (grows ? 20 : 55) + random_below(random, 30);
        }
        uint64_t choice = random_below(random, 100);
        if (choice < 4) free_wrong(checked, random);
        else if (choice < 12) mark_some(checked, random);
        else if (choice < free_share) free_some_live(checked, random);
        else checked_alloc(checked, random_byte_size(random, checked));
        if (step % verified_every == 0) checked_verify(checked);
    }
    checked_free_all(checked);
    checked_verify(checked);
    CHECK(pool_model_largest_gap(&checked->model) == checked->model.granule_count,
          "an empty pool is one gap");
}

static void run_in_new_pool(uint64_t granule_count, uint64_t stream, int step_count,
                            int verified_every)
{
    static struct checked_pool checked;
    struct random random = random_stream(stream);
    CHECK(checked_open(&checked, BASE, bytes_of(granule_count)) == POOL_OK, "the pool opens");
    run_sequence(&checked, &random, step_count, verified_every);
    checked_close(&checked);
    checked_verify(&checked);
}

static void tiny_pools(void)
{
    for (uint64_t granule_count = 1; granule_count <= 66; granule_count++) {
        run_in_new_pool(granule_count, granule_count, 250, 1);
    }
}

static void small_pools(void)
{
    struct random random = random_stream(1000);
    for (uint64_t stream = 1001; stream < 1033; stream++) {
        run_in_new_pool(1 + random_log_uniform(&random, 8192), stream, 2000,
                        stream % 2 == 0 ? 1 : 50);
    }
}

static void large_pools(void)
{
    for (uint64_t stream = 2001; stream < 2005; stream++) {
        run_in_new_pool(64 * 1024 + stream, stream, 20000, 200);
    }
}

// These pools manage more addresses than any machine has memory: a pool never touches what it
// manages.
static void huge_pools(void)
{
    for (uint64_t exponent = 20; exponent <= 44; exponent += 4) {
        run_in_new_pool(UINT64_C(1) << exponent, 3000 + exponent, 2000, 1);
        run_in_new_pool((UINT64_C(1) << exponent) - 1, 3100 + exponent, 500, 1);
    }
}

// ---- Blocks of nearly one size

// Block sizes so close to each other that many free blocks are in one bin, and only some of them
// are large enough for a request.
struct alike {
    uint64_t granule_count_min;
    uint64_t variety;
};

static enum pool_status alloc_alike(struct checked_pool *checked, struct random *random,
                                    struct alike alike)
{
    uint64_t granule_count = alike.granule_count_min + random_below(random, alike.variety);
    return checked_alloc(checked, bytes_of(granule_count));
}

// Frees mostly blocks between two live ones, which cannot coalesce.
static void free_apart(struct checked_pool *checked, struct random *random, uint64_t free_count)
{
    while (free_count > 0 && checked->model.block_count > 0) {
        size_t index = random_below(random, checked->model.block_count);
        const struct model_block *block = &checked->model.blocks[index];
        bool touches_gap =
            index == 0 || block[-1].granule + block[-1].granule_count < block->granule;
        if (touches_gap && random_below(random, 16) != 0) continue;
        checked_free(checked, pool_model_address(&checked->model, index), 0);
        free_count--;
    }
}

static void run_alike(struct alike alike, uint64_t block_count, struct random *random)
{
    static struct checked_pool checked;
    uint64_t granule_count = alike.granule_count_min * block_count;
    CHECK(checked_open(&checked, BASE, bytes_of(granule_count)) == POOL_OK, "the pool opens");
    while (alloc_alike(&checked, random, alike) == POOL_OK) {}
    for (int round = 0; round < 8; round++) {
        uint64_t free_count = checked.model.block_count / 3;
        free_apart(&checked, random, free_count);
        checked_verify(&checked);
        // In the end most requests are refused, rightly: the model checks each.
        for (uint64_t i = 0; i < 2 * free_count; i++) {
            alloc_alike(&checked, random, alike);
        }
        checked_verify(&checked);
    }
    checked_free_all(&checked);
    checked_verify(&checked);
    checked_close(&checked);
}

static void blocks_of_nearly_one_size(void)
{
    struct random random = random_stream(5000);
    for (uint64_t granule_count = 512; granule_count <= 131072; granule_count *= 2) {
        for (uint64_t share = 32; share <= 512; share *= 2) {
            for (uint64_t block_count = 24; block_count <= 192; block_count *= 2) {
                uint64_t size = granule_count + random_below(&random, granule_count);
                run_alike((struct alike){size, 2 + size / share}, block_count, &random);
            }
        }
    }
}

// ---- Every block that fits is served

static void fill_with_single_granules(uint64_t granule_count)
{
    static struct checked_pool checked;
    CHECK(checked_open(&checked, BASE, bytes_of(granule_count)) == POOL_OK, "the pool opens");
    for (uint64_t i = 0; i < granule_count; i++) {
        enum pool_status status = checked_alloc(&checked, 1 + i % POOL_GRANULE_BYTE_SIZE);
        CHECK(status == POOL_OK, "block %" PRIu64 " of %" PRIu64 " is served", i + 1,
              granule_count);
    }
    CHECK(checked_alloc(&checked, 1) == POOL_FULL, "a full pool serves no block more");
    checked_verify(&checked);
    // Every second block is freed: none can coalesce, and there are as many free blocks as there
    // can be.
    for (size_t i = checked.model.block_count; i > 0; i--) {
        if (i % 2 == 1) checked_free(&checked, pool_model_address(&checked.model, i - 1), 0);
    }
    checked_verify(&checked);
    checked_free_all(&checked);
    checked_verify(&checked);
    checked_close(&checked);
}

// The sizes are those at which the tables are cut to the granule count, and at which they grow.
static void every_granule_can_be_a_block(void)
{
    for (uint64_t granule_count = 1; granule_count <= 8; granule_count++) {
        fill_with_single_granules(granule_count);
    }
    for (uint64_t around = 1024; around <= 8192; around *= 2) {
        for (int beside = -4; beside <= 4; beside++) {
            fill_with_single_granules(around + (uint64_t)beside);
        }
    }
    // Tables of nodes whose size is no power of two grow at these counts.
    for (uint64_t node_byte_size = 20; node_byte_size <= 48; node_byte_size += 4) {
        uint64_t node_count = 64 * 1024 / node_byte_size;
        for (int beside = -4; beside <= 4; beside++) {
            fill_with_single_granules(node_count + (uint64_t)beside);
        }
    }
}

// ---- All sequences of a tiny pool

// Each step of a sequence is a request of so many granules, or one of the calls for the block at a
// granule, whether there is one or not.
typedef enum pool_status block_call(struct checked_pool *checked, uint64_t address,
                                    uint64_t generation);

struct tiny_pool {
    uint64_t granule_count;
    int depth;
    block_call *const *calls;
    uint64_t call_count;
};

static uint64_t choice_count(const struct tiny_pool *tiny)
{
    return tiny->granule_count * (1 + tiny->call_count);
}

static void choose(struct checked_pool *checked, const struct tiny_pool *tiny, uint64_t choice)
{
    uint64_t granule = choice % tiny->granule_count;
    uint64_t call = choice / tiny->granule_count;
    if (call == 0) checked_alloc(checked, bytes_of(granule + 1));
    else tiny->calls[call - 1](checked, BASE + bytes_of(granule), 0);
}

// The digits of the number are the choices of the sequence.
static void run_numbered_sequence(struct checked_pool *checked, const struct tiny_pool *tiny,
                                  uint64_t number)
{
    for (int step = 0; step < tiny->depth; step++) {
        choose(checked, tiny, number % choice_count(tiny));
        number /= choice_count(tiny);
    }
    checked_verify(checked);
    checked_free_all(checked);
}

static void run_all_sequences(const struct tiny_pool *tiny)
{
    static struct checked_pool checked;
    checked_open(&checked, BASE, bytes_of(tiny->granule_count));
    uint64_t sequence_count = 1;
    for (int i = 0; i < tiny->depth; i++) sequence_count *= choice_count(tiny);
    // The first choice is always a request: no other call means anything before there is a block.
    for (uint64_t number = 0; number < sequence_count; number++) {
        bool begins_with_request = number % choice_count(tiny) < tiny->granule_count;
        if (begins_with_request) run_numbered_sequence(&checked, tiny, number);
    }
    checked_verify(&checked);
    checked_close(&checked);
}

static void all_sequences_of_a_tiny_pool(void)
{
    static block_call *const calls[] = {checked_free};
    run_all_sequences(
        &(struct tiny_pool){.granule_count = 4, .depth = 6, .calls = calls, .call_count = 1});
}

static enum pool_status exchange_tag(struct checked_pool *checked, uint64_t address,
                                     uint64_t generation, uint32_t expected, uint32_t desired)
{
    return checked_exchange_mark(checked, address, generation,
                                 (struct pool_mark){POOL_ANY_OWNER, expected},
                                 (struct pool_mark){POOL_ANY_OWNER, desired});
}

// The calls by which a block gets a tag, changes it and loses it.
static enum pool_status set_tag(struct checked_pool *checked, uint64_t address, uint64_t generation)
{
    return exchange_tag(checked, address, generation, 0, 1);
}

static enum pool_status change_tag(struct checked_pool *checked, uint64_t address,
                                   uint64_t generation)
{
    return exchange_tag(checked, address, generation, 1, 2);
}

static enum pool_status clear_tag(struct checked_pool *checked, uint64_t address,
                                  uint64_t generation)
{
    return exchange_tag(checked, address, generation, 2, 0);
}

static enum pool_status free_tagged(struct checked_pool *checked, uint64_t address,
                                    uint64_t generation)
{
    return checked_free_marked(checked, address, generation, (struct pool_mark){POOL_ANY_OWNER, 1});
}

static void all_sequences_with_tagged_blocks(void)
{
    static block_call *const calls[] = {checked_free, set_tag, free_tagged, change_tag, clear_tag};
    run_all_sequences(
        &(struct tiny_pool){.granule_count = 2, .depth = 5, .calls = calls, .call_count = 5});
    // Three neighbours get tags in every order.
    run_all_sequences(
        &(struct tiny_pool){.granule_count = 3, .depth = 6, .calls = calls + 1, .call_count = 1});
}

// ---- Opening, closing, generations

static void reopened_pools_start_anew(void)
{
    static struct checked_pool checked;
    struct random random = random_stream(4000);
    uint64_t stale_address = 0, stale_generation = 0;
    for (int cycle = 0; cycle < 300; cycle++) {
        uint64_t base = BASE + bytes_of(random_below(&random, 4));
        uint64_t granule_count = random_log_uniform(&random, 4096);
        CHECK(checked_open(&checked, base, bytes_of(granule_count)) == POOL_OK, "the pool opens");
        CHECK(checked_open(&checked, base, bytes_of(granule_count)) == POOL_BAD_RANGE,
              "an open pool is not opened again");
        checked_verify(&checked);
        CHECK(checked_alloc(&checked, 1) == POOL_OK, "an empty pool serves one byte");
        if (stale_generation != 0) {
            CHECK(checked_free(&checked, stale_address, stale_generation) == POOL_CLOSED,
                  "a block of an earlier generation is not freed in a later one");
            exchange_tag(&checked, stale_address, stale_generation, 0, 1);
            exchange_tag(&checked, stale_address, stale_generation, 1, 2);
            exchange_tag(&checked, stale_address, stale_generation, 2, 0);
        }
        for (int step = 0; step < 30; step++) {
            if (step % 3 == 0) mark_some(&checked, &random);
            checked_alloc(&checked, random_byte_size(&random, &checked));
        }
        checked_verify(&checked);
        stale_address = pool_model_address(&checked.model, 0);
        stale_generation = checked.generation;
        checked_close(&checked);
        checked_verify(&checked);
        CHECK(checked_alloc(&checked, 1) == POOL_CLOSED, "a closed pool serves nothing");
        CHECK(checked_alloc(&checked, 0) == POOL_BAD_RANGE,
              "a closed pool refuses an empty request as an open one does");
        CHECK(checked_free(&checked, stale_address, 0) == POOL_CLOSED,
              "a closed pool frees nothing");
        CHECK(exchange_tag(&checked, stale_address, 0, 0, 1) == POOL_CLOSED,
              "a closed pool sets no tag");
        checked_close(&checked); // Closing a closed pool changes nothing.
        checked_verify(&checked);
    }
}

static void bad_ranges_are_refused(void)
{
    static struct checked_pool checked;
    const uint64_t granule = POOL_GRANULE_BYTE_SIZE;
    const struct {
        uint64_t base, byte_size;
    } bad[] = {
        {0, granule},
        {BASE, 0},
        {BASE, granule - 1},
        {BASE, granule + 1},
        {BASE + 1, granule},
        {BASE + granule / 2, granule},
        {BASE, bytes_of((UINT64_C(1) << 44) + 1)},
        {UINT64_MAX - granule + 1, granule},
        {UINT64_MAX - bytes_of(2) + 1, bytes_of(2)},
        {BASE, UINT64_MAX - granule + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        enum pool_status status = checked_open(&checked, bad[i].base, bad[i].byte_size);
        CHECK(status == POOL_BAD_RANGE, "range %zu is refused", i);
        checked_verify(&checked);
    }
    CHECK(checked_open(&checked, UINT64_MAX - bytes_of(2) + 1, granule) == POOL_OK,
          "a pool may end just before the last granule of the address space");
    CHECK(checked_alloc(&checked, granule) == POOL_OK, "that pool serves all of its range");
    checked_verify(&checked);
    checked_close(&checked);
}

static void refused_requests_change_nothing(void)
{
    static struct checked_pool checked;
    checked_open(&checked, BASE, bytes_of(100));
    CHECK(checked_alloc(&checked, 0) == POOL_BAD_RANGE, "0 is not a size");
    CHECK(checked_alloc(&checked, bytes_of(100) + 1) == POOL_TOO_LARGE,
          "a byte more than the pool has");
    CHECK(checked_alloc(&checked, UINT64_MAX) == POOL_TOO_LARGE, "the largest number");
    CHECK(checked_alloc(&checked, UINT64_C(1) << 53) == POOL_TOO_LARGE, "a size above all bins");
    checked_verify(&checked);
    CHECK(checked_alloc(&checked, bytes_of(100)) == POOL_OK, "the pool is still whole");
    checked_verify(&checked);
    checked_close(&checked);
}

static void a_refusing_pool_still_frees(void)
{
    static struct checked_pool checked;
    checked_open(&checked, BASE, bytes_of(100));
    for (int i = 0; i < 10; i++) checked_alloc(&checked, bytes_of(7));
    checked_refuse(&checked);
    CHECK(checked_alloc(&checked, 1) == POOL_REFUSING, "the pool serves nothing more");
    CHECK(checked_alloc(&checked, bytes_of(101)) == POOL_REFUSING, "nor what it never could");
    CHECK(checked_alloc(&checked, 0) == POOL_BAD_RANGE, "0 is not a size");
    checked_verify(&checked);
    uint64_t address = pool_model_address(&checked.model, 3);
    CHECK(set_tag(&checked, address, 0) == POOL_OK, "a block gets a tag");
    checked_free_all(&checked);
    checked_verify(&checked);
    CHECK(checked_alloc(&checked, 1) == POOL_REFUSING, "an empty pool serves nothing either");
    checked_close(&checked);
    checked_open(&checked, BASE, bytes_of(100));
    CHECK(checked_alloc(&checked, 1) == POOL_OK, "the next life of the pool serves");
    checked_close(&checked);
}

static void a_block_is_its_owners(void)
{
    static struct checked_pool checked;
    checked_open(&checked, BASE, bytes_of(100));
    for (int i = 0; i < OWNER_COUNT; i++) checked_alloc(&checked, bytes_of(7));
    for (size_t i = 0; i < OWNER_COUNT; i++) {
        uint64_t address = pool_model_address(&checked.model, i);
        for (size_t other = 0; other < OWNER_COUNT; other++) {
            uint32_t owner = checked.model.blocks[other].owner;
            if (other == i) continue;
            CHECK(checked_free_for(&checked, address, 0, owner) == POOL_NOT_ALLOCATED,
                  "a block of another owner is not found");
        }
    }
    checked_verify(&checked);
    while (checked.model.block_count > 0) {
        uint64_t address = pool_model_address(&checked.model, 0);
        uint32_t owner = checked.model.blocks[0].owner;
        CHECK(checked_free_for(&checked, address, 0, owner) == POOL_OK, "its owner frees it");
        checked_verify(&checked);
    }
    checked_close(&checked);
}

static uint64_t capacity_of(struct pool *pool)
{
    struct pool_stats stats;
    CHECK(pool_read_stats(pool, &stats) == POOL_OK, "the pool is open");
    CHECK(pool_broken_invariant(pool) == NULL, "%s", pool_broken_invariant(pool));
    return stats.capacity_byte_size;
}

static void a_pool_moves_while_nothing_lives_in_it(void)
{
    static struct pool pool;
    struct pool_block block;
    CHECK(pool_close_unused(&pool) == POOL_OK, "a closed pool stays closed");
    CHECK(pool_reopen(&pool, BASE, bytes_of(100)) == POOL_OK, "a closed pool is opened");
    CHECK(pool_alloc(&pool, 1, 0, &block, NULL) == POOL_OK, "it serves");
    CHECK(pool_reopen(&pool, 2 * BASE, bytes_of(200)) == POOL_IN_USE, "a block lives in it");
    CHECK(pool_close_unused(&pool) == POOL_IN_USE, "a block lives in it");
    CHECK(capacity_of(&pool) == bytes_of(100), "it is as it was");
    CHECK(pool_free(&pool, block.address, block.generation, 0) == POOL_OK, "so is its block");
    CHECK(pool_reopen(&pool, 2 * BASE + 1, bytes_of(200)) == POOL_BAD_RANGE, "misaligned");
    CHECK(pool_reopen(&pool, 2 * BASE, 0) == POOL_BAD_RANGE, "empty");
    CHECK(capacity_of(&pool) == bytes_of(100), "it is as it was");
    uint64_t generation = pool_generation(&pool);
    CHECK(pool_reopen(&pool, 2 * BASE, bytes_of(200)) == POOL_OK, "nothing lives in it");
    CHECK(capacity_of(&pool) == bytes_of(200) && pool_generation(&pool) != generation, "it is new");
    CHECK(pool_free(&pool, block.address, block.generation, 0) == POOL_CLOSED,
          "that block is gone");
    CHECK(pool_alloc(&pool, bytes_of(200), 0, &block, NULL) == POOL_OK && block.address == 2 * BASE,
          "all of it can be had");
    // What lived when the pool was closed does not keep it from being opened.
    pool_close(&pool);
    CHECK(pool_reopen(&pool, BASE, bytes_of(7)) == POOL_OK, "the blocks went with the pool");
    CHECK(pool_close_unused(&pool) == POOL_OK, "nothing lives in it");
    CHECK(pool_alloc(&pool, 1, 0, &block, NULL) == POOL_CLOSED, "it is closed");
}

int main(void)
{
    check_case("tiny pools", tiny_pools);
    check_case("small pools", small_pools);
    check_case("large pools", large_pools);
    check_case("huge pools", huge_pools);
    check_case("blocks of nearly one size", blocks_of_nearly_one_size);
    check_case("every granule can be a block", every_granule_can_be_a_block);
    check_case("all sequences of a tiny pool", all_sequences_of_a_tiny_pool);
    check_case("all sequences with tagged blocks", all_sequences_with_tagged_blocks);
    check_case("reopened pools start anew", reopened_pools_start_anew);
    check_case("bad ranges are refused", bad_ranges_are_refused);
    check_case("refused requests change nothing", refused_requests_change_nothing);
    check_case("a refusing pool still frees", a_refusing_pool_still_frees);
    check_case("a block is its owner's", a_block_is_its_owners);
    check_case("a pool moves while nothing lives in it", a_pool_moves_while_nothing_lives_in_it);
    return check_report();
}
