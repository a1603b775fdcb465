#include "checked_pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static const uint64_t GRANULE_COUNT_MAX = UINT64_C(1) << 44;

static const char *name_of(enum pool_status status)
{
    static const char *const names[] = {
        [POOL_OK] = "POOL_OK",
        [POOL_CLOSED] = "POOL_CLOSED",
        [POOL_FULL] = "POOL_FULL",
        [POOL_OUT_OF_METADATA] = "POOL_OUT_OF_METADATA",
        [POOL_NOT_ALLOCATED] = "POOL_NOT_ALLOCATED",
        [POOL_BAD_RANGE] = "POOL_BAD_RANGE",
        [POOL_LENT] = "POOL_LENT",
    };
    return names[status];
}

static bool traces(void)
{
    static int answer = -1;
    if (answer < 0) answer = getenv("CHECK_TRACE") != NULL;
    return answer != 0;
}

#define TRACE(...)                                                                                 \
    do {                                                                                           \
        if (traces()) fprintf(stderr, __VA_ARGS__);                                                \
    } while (0)

static uint64_t faults_so_far(const struct checked_pool *checked)
{
    return checked->fault_count == NULL ? 0 : *checked->fault_count;
}

static void expect_status(enum pool_status status, enum pool_status expected, const char *call)
{
    CHECK(status == expected, "%s gave %s instead of %s", call, name_of(status), name_of(expected));
}

static void expect_stats(const struct pool_stats *stats, struct pool_stats expected,
                         const char *source)
{
#define EXPECT_MEMBER(member)                                                                      \
    CHECK(stats->member == expected.member, "%s: " #member " is %" PRIu64 ", must be %" PRIu64,    \
          source, stats->member, expected.member)
    EXPECT_MEMBER(capacity_byte_size);
    EXPECT_MEMBER(used_byte_size);
    EXPECT_MEMBER(peak_used_byte_size);
    EXPECT_MEMBER(free_byte_size);
    EXPECT_MEMBER(largest_free_byte_size);
    EXPECT_MEMBER(allocation_count);
    EXPECT_MEMBER(failed_allocation_count);
#undef EXPECT_MEMBER
}

// ---- Opening and closing

static bool is_good_range(uint64_t base, uint64_t byte_size)
{
    return base != 0 && base % POOL_GRANULE_BYTE_SIZE == 0 && byte_size != 0 &&
           byte_size % POOL_GRANULE_BYTE_SIZE == 0 &&
           byte_size / POOL_GRANULE_BYTE_SIZE <= GRANULE_COUNT_MAX &&
           byte_size <= UINT64_MAX - base;
}

enum pool_status checked_open(struct checked_pool *checked, uint64_t base, uint64_t byte_size)
{
    static _Thread_local uint64_t last_generation;
    uint64_t faults_before = faults_so_far(checked);
    TRACE("open(base %#" PRIx64 ", %" PRIu64 " granules and %" PRIu64 " bytes)", base,
          byte_size / POOL_GRANULE_BYTE_SIZE, byte_size % POOL_GRANULE_BYTE_SIZE);
    enum pool_status status = pool_open(&checked->pool, base, byte_size);
    TRACE(" %s\n", name_of(status));
    if (checked->generation != 0 || !is_good_range(base, byte_size)) {
        expect_status(status, POOL_BAD_RANGE, "pool_open");
        return status;
    }
    if (faults_so_far(checked) != faults_before) {
        expect_status(status, POOL_OUT_OF_METADATA, "pool_open without memory");
        CHECK(pool_generation(&checked->pool) == 0, "a pool that could not be opened is open");
        return status;
    }
    expect_status(status, POOL_OK, "pool_open");
    checked->generation = pool_generation(&checked->pool);
    CHECK(checked->generation > last_generation, "generation %" PRIu64 " comes after %" PRIu64,
          checked->generation, last_generation);
    last_generation = checked->generation;
    checked->retired_count = 0;
    pool_model_open(&checked->model, base, byte_size);
    return status;
}

void checked_close(struct checked_pool *checked)
{
    TRACE("close()\n");
    pool_close(&checked->pool);
    checked->generation = 0;
    pool_model_close(&checked->model);
}

// ---- Requests

static enum pool_status expected_of_alloc(const struct checked_pool *checked, uint64_t byte_size,
                                          enum pool_status status)
{
    if (byte_size == 0) return POOL_BAD_RANGE;
    if (checked->generation == 0) return POOL_CLOSED;
    // That there was room for a block is proved where the model accepts it, and need not be looked
    // for.
    if (status == POOL_OK) return POOL_OK;
    return granules_of(byte_size) <= pool_model_largest_gap(&checked->model) ? POOL_OK : POOL_FULL;
}

enum pool_status checked_alloc(struct checked_pool *checked, uint64_t byte_size)
{
    uint64_t faults_before = faults_so_far(checked);
    struct pool_block block = {0};
    struct pool_stats full;
    bool wants_stats = checked->alloc_count++ % 4 == 0;
    TRACE("alloc(%" PRIu64 " bytes, %" PRIu64 " granules)", byte_size, granules_of(byte_size));
    enum pool_status status =
        pool_alloc(&checked->pool, byte_size, &block, wants_stats ? &full : NULL);
    TRACE(" %s, granule %" PRIu64 "\n", name_of(status),
          status == POOL_OK ? (block.address - checked->model.base) / POOL_GRANULE_BYTE_SIZE : 0);
    enum pool_status expected = expected_of_alloc(checked, byte_size, status);
    bool lacked_memory = faults_so_far(checked) != faults_before;
    if (lacked_memory && status == POOL_OUT_OF_METADATA) expected = POOL_OUT_OF_METADATA;
    expect_status(status, expected, "pool_alloc");
    if (status == POOL_OK) {
        const char *wrong = pool_model_add(&checked->model, block.address, byte_size);
        CHECK(wrong == NULL, "%s", wrong);
        CHECK(block.generation == checked->generation,
              "a block is of generation %" PRIu64 ", the pool of %" PRIu64, block.generation,
              checked->generation);
    } else if (status == POOL_FULL || status == POOL_OUT_OF_METADATA) {
        if (wants_stats) { // otherwise the caller says that it tries again
            checked->model.failed_allocation_count++;
            expect_stats(&full, pool_model_stats(&checked->model), "what a refusal says");
        }
    }
    return status;
}

// What a call is to give that names a block: its own answer for a block that lives.
static enum pool_status expected_of(const struct checked_pool *checked, uint64_t generation,
                                    const struct model_block *block, enum pool_status of_use)
{
    if (checked->generation == 0 || (generation != 0 && generation != checked->generation)) {
        return POOL_CLOSED;
    }
    return block == NULL ? POOL_NOT_ALLOCATED : of_use;
}

static enum pool_status ok_if(bool is_right)
{
    return is_right ? POOL_OK : POOL_NOT_ALLOCATED;
}

static void trace_call(const struct checked_pool *checked, const char *call, uint64_t address,
                       uint64_t generation, enum pool_status status)
{
    int64_t offset = (int64_t)(address - checked->model.base);
    TRACE("%s(granule %" PRId64 " and %" PRId64 " bytes, generation %" PRIu64 ") %s\n", call,
          offset / POOL_GRANULE_BYTE_SIZE, offset % POOL_GRANULE_BYTE_SIZE, generation,
          name_of(status));
}

enum pool_status checked_free(struct checked_pool *checked, uint64_t address, uint64_t generation)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    static const enum pool_status of_use[] = {
        [MODEL_OWNED] = POOL_OK,
        [MODEL_RETIRED] = POOL_NOT_ALLOCATED,
        [MODEL_LENT] = POOL_LENT,
    };
    enum pool_status expected =
        expected_of(checked, generation, block, block == NULL ? POOL_OK : of_use[block->use]);
    enum pool_status status = pool_free(&checked->pool, address, generation);
    trace_call(checked, "free", address, generation, status);
    expect_status(status, expected, "pool_free");
    if (status == POOL_OK) pool_model_remove(&checked->model, block);
    return status;
}

// The numbers wrap soon after the pool was opened.
static uint32_t number_of(uint64_t retired_order)
{
    const uint64_t before_wrapping = 50;
    uint64_t number = POOL_RETIRED_NUMBER_MAX - before_wrapping + retired_order;
    return (uint32_t)((number - 1) % POOL_RETIRED_NUMBER_MAX + 1);
}

enum pool_status checked_retire(struct checked_pool *checked, uint64_t address, uint64_t generation)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status expected = expected_of(checked, generation, block,
                                            ok_if(block != NULL && block->use != MODEL_RETIRED));
    uint64_t order = ++checked->retired_count;
    uint64_t byte_size = 0;
    enum pool_status status =
        pool_retire(&checked->pool, address, generation, number_of(order), &byte_size);
    trace_call(checked, "retire", address, generation, status);
    expect_status(status, expected, "pool_retire");
    if (status != POOL_OK) return status;
    CHECK(byte_size == block->granule_count * POOL_GRANULE_BYTE_SIZE,
          "a block has %" PRIu64 " bytes", byte_size);
    block->use = MODEL_RETIRED;
    block->retired_order = order;
    return status;
}

// A call that only a block in this use is right for.
static enum pool_status call_on(struct checked_pool *checked, const struct model_block *block,
                                enum model_use use, uint64_t address, uint64_t generation,
                                enum pool_status (*call)(struct pool *, uint64_t, uint64_t),
                                const char *name)
{
    enum pool_status expected =
        expected_of(checked, generation, block, ok_if(block != NULL && block->use == use));
    enum pool_status status = call(&checked->pool, address, generation);
    trace_call(checked, name, address, generation, status);
    expect_status(status, expected, name);
    return status;
}

enum pool_status checked_free_retired(struct checked_pool *checked, uint64_t address,
                                      uint64_t generation)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status status = call_on(checked, block, MODEL_RETIRED, address, generation,
                                      pool_free_retired, "pool_free_retired");
    if (status == POOL_OK) pool_model_remove(&checked->model, block);
    return status;
}

enum pool_status checked_lend(struct checked_pool *checked, uint64_t address, uint64_t generation)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status status =
        call_on(checked, block, MODEL_RETIRED, address, generation, pool_lend, "pool_lend");
    if (status == POOL_OK) block->use = MODEL_LENT;
    return status;
}

enum pool_status checked_end_loan(struct checked_pool *checked, uint64_t address,
                                  uint64_t generation)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status status =
        call_on(checked, block, MODEL_LENT, address, generation, pool_end_loan, "pool_end_loan");
    if (status == POOL_OK) block->use = MODEL_OWNED;
    return status;
}

void checked_retire_or_lend(struct checked_pool *checked, uint64_t choice, uint64_t address,
                            uint64_t generation)
{
    switch (choice) {
    case 3:
        checked_free_retired(checked, address, generation);
        break;
    case 4:
        checked_lend(checked, address, generation);
        break;
    case 5:
        checked_end_loan(checked, address, generation);
        break;
    default:
        checked_retire(checked, address, generation);
    }
}

void checked_ask(struct checked_pool *checked, uint64_t address)
{
    uint64_t byte_size = pool_byte_size_without(&checked->pool, address);
    uint64_t expected = pool_model_byte_size_without(&checked->model, address);
    CHECK(byte_size == expected, "without the block %" PRIu64 " bytes are free, must be %" PRIu64,
          byte_size, expected);
    const struct model_block *block = pool_model_find(&checked->model, address);
    bool is_lent = block != NULL && block->use == MODEL_LENT;
    CHECK(pool_is_lent(&checked->pool, address, checked->generation) == is_lent,
          "the block is%s lent", is_lent ? "" : " not");
}

void checked_free_all(struct checked_pool *checked)
{
    while (checked->model.block_count > 0) {
        size_t last = checked->model.block_count - 1;
        uint64_t address = pool_model_address(&checked->model, last);
        enum model_use use = checked->model.blocks[last].use;
        if (use == MODEL_LENT) checked_end_loan(checked, address, 0);
        if (use == MODEL_RETIRED) checked_free_retired(checked, address, 0);
        else checked_free(checked, address, 0);
    }
}

// ---- The whole pool

void checked_verify_stats(struct checked_pool *checked)
{
    CHECK(pool_generation(&checked->pool) == checked->generation, "the generation changed");
    struct pool_stats stats;
    enum pool_status status = pool_read_stats(&checked->pool, &stats);
    expect_status(status, checked->generation == 0 ? POOL_CLOSED : POOL_OK, "pool_read_stats");
    const struct pool_model *model = &checked->model;
    uint64_t base = model->base;
    uint64_t end = base + model->granule_count * POOL_GRANULE_BYTE_SIZE;
    if (checked->generation == 0) {
        CHECK(!pool_contains(&checked->pool, base), "a closed pool contains an address");
        return;
    }
    expect_stats(&stats, pool_model_stats(model), "pool_read_stats");
    CHECK(pool_contains(&checked->pool, base) && pool_contains(&checked->pool, end - 1),
          "the pool contains its first and its last byte");
    CHECK(!pool_contains(&checked->pool, base - 1) && !pool_contains(&checked->pool, end),
          "the pool contains a byte beside it");
}

void checked_verify(struct checked_pool *checked)
{
    const char *broken = pool_broken_invariant(&checked->pool);
    CHECK(broken == NULL, "broken invariant: %s", broken);
    checked_verify_stats(checked);
}
