#include "checked_pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static const char *name_of(enum pool_status status)
{
    static const char *const names[] = {
        [POOL_OK] = "POOL_OK",
        [POOL_CLOSED] = "POOL_CLOSED",
        [POOL_FULL] = "POOL_FULL",
        [POOL_OUT_OF_METADATA] = "POOL_OUT_OF_METADATA",
        [POOL_NOT_ALLOCATED] = "POOL_NOT_ALLOCATED",
        [POOL_BAD_RANGE] = "POOL_BAD_RANGE",
        [POOL_TAGGED] = "POOL_TAGGED",
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
    CHECK(status == expected, "%s returned %s instead of %s", call, name_of(status),
          name_of(expected));
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
           byte_size / POOL_GRANULE_BYTE_SIZE <= POOL_GRANULE_COUNT_MAX &&
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
    // Where a block was served, the model checks that there was room for it.
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
        if (wants_stats) { // A refusal of a call without them is not counted.
            checked->model.failed_allocation_count++;
            expect_stats(&full, pool_model_stats(&checked->model), "the statistics of a refusal");
        }
    }
    return status;
}

// The status that a call must return which names a block and its tag.
static enum pool_status expected_of(const struct checked_pool *checked, uint64_t generation,
                                    const struct model_block *block, uint32_t tag)
{
    if (checked->generation == 0 || (generation != 0 && generation != checked->generation)) {
        return POOL_CLOSED;
    }
    if (block == NULL) return POOL_NOT_ALLOCATED;
    return block->tag == tag ? POOL_OK : POOL_TAGGED;
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
    enum pool_status expected = expected_of(checked, generation, block, 0);
    enum pool_status status = pool_free(&checked->pool, address, generation);
    trace_call(checked, "free", address, generation, status);
    expect_status(status, expected, "pool_free");
    if (status == POOL_OK) pool_model_remove(&checked->model, block);
    return status;
}

enum pool_status checked_free_tagged(struct checked_pool *checked, uint64_t address,
                                     uint64_t generation, uint32_t tag)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status expected = expected_of(checked, generation, block, tag);
    enum pool_status status = pool_free_tagged(&checked->pool, address, generation, tag);
    TRACE("tag %" PRIu32 ": ", tag);
    trace_call(checked, "free_tagged", address, generation, status);
    expect_status(status, expected, "pool_free_tagged");
    if (status == POOL_OK) pool_model_remove(&checked->model, block);
    return status;
}

enum pool_status checked_exchange_tag(struct checked_pool *checked, uint64_t address,
                                      uint64_t generation, uint32_t expected_tag,
                                      uint32_t desired_tag)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status expected = expected_of(checked, generation, block, expected_tag);
    uint32_t tag = expected_tag;
    uint64_t byte_size = 0;
    enum pool_status status =
        pool_exchange_tag(&checked->pool, address, generation, &tag, desired_tag, &byte_size);
    TRACE("tag %" PRIu32 " to %" PRIu32 ": ", expected_tag, desired_tag);
    trace_call(checked, "exchange_tag", address, generation, status);
    expect_status(status, expected, "pool_exchange_tag");
    CHECK(tag == (status == POOL_TAGGED ? block->tag : expected_tag), "a block has tag %" PRIu32,
          tag);
    if (status != POOL_OK && status != POOL_TAGGED) return status;
    CHECK(byte_size == block->granule_count * POOL_GRANULE_BYTE_SIZE,
          "a block has %" PRIu64 " bytes", byte_size);
    if (status == POOL_OK) block->tag = desired_tag;
    return status;
}

// In half of all cases the tag is the one that makes the call right.
static uint32_t tag_of_choice(const struct checked_pool *checked, uint64_t choice, uint64_t address)
{
    const struct model_block *block = pool_model_find(&checked->model, address);
    if (choice % 2 == 0 && block != NULL) return block->tag;
    return (uint32_t)(choice / 2 % (TAG_COUNT + 1));
}

void checked_use_tag(struct checked_pool *checked, uint64_t choice, uint64_t address,
                     uint64_t generation)
{
    uint32_t tag = tag_of_choice(checked, choice / 16, address);
    uint32_t desired_tag = (uint32_t)(choice / 4 % (TAG_COUNT + 1));
    if (choice % 4 == 3) checked_free_tagged(checked, address, generation, tag);
    else checked_exchange_tag(checked, address, generation, tag, desired_tag);
}

static bool is_in_mask(uint32_t tag, const void *mask)
{
    return *(const uint32_t *)mask >> tag & 1;
}

void checked_ask(struct checked_pool *checked, uint64_t address)
{
    for (uint32_t mask = 0; mask < 2 << TAG_COUNT; mask += 2) {
        uint64_t byte_size = pool_coalesced_byte_size(&checked->pool, address, is_in_mask, &mask);
        uint64_t expected =
            pool_model_coalesced_byte_size(&checked->model, address, is_in_mask, &mask);
        CHECK(byte_size == expected, "%" PRIu64 " bytes would be free, must be %" PRIu64, byte_size,
              expected);
    }
    const struct model_block *block = pool_model_find(&checked->model, address);
    if (block != NULL) checked_exchange_tag(checked, address, 0, block->tag, block->tag);
}

void checked_free_all(struct checked_pool *checked)
{
    while (checked->model.block_count > 0) {
        size_t last = checked->model.block_count - 1;
        uint64_t address = pool_model_address(&checked->model, last);
        uint32_t tag = checked->model.blocks[last].tag;
        if (tag != 0) checked_free_tagged(checked, address, 0, tag);
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
