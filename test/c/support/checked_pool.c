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
        [POOL_REFUSING] = "POOL_REFUSING",
        [POOL_FULL] = "POOL_FULL",
        [POOL_TOO_LARGE] = "POOL_TOO_LARGE",
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
    checked->is_refusing = false;
    pool_model_close(&checked->model);
}

void checked_refuse(struct checked_pool *checked)
{
    TRACE("refuse()\n");
    pool_refuse(&checked->pool);
    checked->is_refusing = checked->generation != 0;
}

// ---- Requests

// The least, the most, and one between.
static uint32_t owner_of_choice(uint64_t choice)
{
    return (const uint32_t[OWNER_COUNT]){0, 7, POOL_OWNER_MAX}[choice % OWNER_COUNT];
}

static enum pool_status expected_of_alloc(const struct checked_pool *checked, uint64_t byte_size,
                                          enum pool_status status)
{
    if (byte_size == 0) return POOL_BAD_RANGE;
    if (checked->generation == 0) return POOL_CLOSED;
    if (checked->is_refusing) return POOL_REFUSING;
    if (granules_of(byte_size) > checked->model.granule_count) return POOL_TOO_LARGE;
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
    uint32_t owner = owner_of_choice(checked->alloc_count);
    TRACE("alloc(%" PRIu64 " bytes, %" PRIu64 " granules, owner %" PRIu32 ")", byte_size,
          granules_of(byte_size), owner);
    enum pool_status status =
        pool_alloc(&checked->pool, byte_size, owner, &block, wants_stats ? &full : NULL);
    TRACE(" %s, granule %" PRIu64 "\n", name_of(status),
          status == POOL_OK ? (block.address - checked->model.base) / POOL_GRANULE_BYTE_SIZE : 0);
    enum pool_status expected = expected_of_alloc(checked, byte_size, status);
    bool lacked_memory = faults_so_far(checked) != faults_before;
    if (lacked_memory && status == POOL_OUT_OF_METADATA) expected = POOL_OUT_OF_METADATA;
    expect_status(status, expected, "pool_alloc");
    if (status == POOL_OK) {
        const char *wrong = pool_model_add(&checked->model, block.address, byte_size, owner);
        CHECK(wrong == NULL, "%s", wrong);
        CHECK(block.generation == checked->generation,
              "a block is of generation %" PRIu64 ", the pool of %" PRIu64, block.generation,
              checked->generation);
    } else if (status == POOL_FULL || status == POOL_TOO_LARGE || status == POOL_OUT_OF_METADATA) {
        if (wants_stats) { // A refusal of a call without them is not counted.
            checked->model.failed_allocation_count++;
            expect_stats(&full, pool_model_stats(&checked->model), "the statistics of a refusal");
        }
    }
    return status;
}

// The status that a call must return which names a block and its mark.
static enum pool_status expected_of(const struct checked_pool *checked, uint64_t generation,
                                    const struct model_block *block, struct pool_mark mark)
{
    if (checked->generation == 0 || (generation != 0 && generation != checked->generation)) {
        return POOL_CLOSED;
    }
    if (block == NULL) return POOL_NOT_ALLOCATED;
    if (mark.owner != POOL_ANY_OWNER && mark.owner != block->owner) return POOL_NOT_ALLOCATED;
    return block->tag == mark.tag ? POOL_OK : POOL_TAGGED;
}

static void trace_call(const struct checked_pool *checked, const char *call, uint64_t address,
                       uint64_t generation, enum pool_status status)
{
    int64_t offset = (int64_t)(address - checked->model.base);
    TRACE("%s(granule %" PRId64 " and %" PRId64 " bytes, generation %" PRIu64 ") %s\n", call,
          offset / POOL_GRANULE_BYTE_SIZE, offset % POOL_GRANULE_BYTE_SIZE, generation,
          name_of(status));
}

enum pool_status checked_free_for(struct checked_pool *checked, uint64_t address,
                                  uint64_t generation, uint32_t owner)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    struct pool_mark mark = {.owner = owner};
    enum pool_status expected = expected_of(checked, generation, block, mark);
    enum pool_status status = pool_free(&checked->pool, address, generation, owner);
    TRACE("owner %" PRIu32 ": ", owner);
    trace_call(checked, "free", address, generation, status);
    expect_status(status, expected, "pool_free");
    if (status == POOL_OK) pool_model_remove(&checked->model, block);
    return status;
}

enum pool_status checked_free(struct checked_pool *checked, uint64_t address, uint64_t generation)
{
    const struct model_block *block = pool_model_find(&checked->model, address);
    bool is_any = block == NULL || checked->alloc_count % 2 == 0;
    return checked_free_for(checked, address, generation, is_any ? POOL_ANY_OWNER : block->owner);
}

enum pool_status checked_free_marked(struct checked_pool *checked, uint64_t address,
                                     uint64_t generation, struct pool_mark mark)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status expected = expected_of(checked, generation, block, mark);
    enum pool_status status = pool_free_marked(&checked->pool, address, generation, mark);
    TRACE("tag %" PRIu32 ", owner %" PRIu32 ": ", mark.tag, mark.owner);
    trace_call(checked, "free_marked", address, generation, status);
    expect_status(status, expected, "pool_free_marked");
    if (status == POOL_OK) pool_model_remove(&checked->model, block);
    return status;
}

enum pool_status checked_exchange_mark(struct checked_pool *checked, uint64_t address,
                                       uint64_t generation, struct pool_mark expected_mark,
                                       struct pool_mark desired)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    enum pool_status expected = expected_of(checked, generation, block, expected_mark);
    struct pool_mark mark = expected_mark;
    uint64_t byte_size = 0;
    enum pool_status status =
        pool_exchange_mark(&checked->pool, address, generation, &mark, desired, &byte_size);
    TRACE("tag %" PRIu32 " to %" PRIu32 ", owner %" PRIu32 " to %" PRIu32 ": ", expected_mark.tag,
          desired.tag, expected_mark.owner, desired.owner);
    trace_call(checked, "exchange_mark", address, generation, status);
    expect_status(status, expected, "pool_exchange_mark");
    CHECK(mark.owner == expected_mark.owner, "the owner that was expected changed");
    CHECK(mark.tag == (status == POOL_TAGGED ? block->tag : expected_mark.tag),
          "a block has tag %" PRIu32, mark.tag);
    if (status != POOL_OK && status != POOL_TAGGED) return status;
    CHECK(byte_size == block->granule_count * POOL_GRANULE_BYTE_SIZE,
          "a block has %" PRIu64 " bytes", byte_size);
    if (status != POOL_OK) return status;
    block->tag = desired.tag;
    if (desired.owner != POOL_ANY_OWNER) block->owner = desired.owner;
    return status;
}

static enum pool_status checked_exchange_owner(struct checked_pool *checked, uint64_t address,
                                               uint64_t generation, uint32_t expected_owner,
                                               uint32_t desired)
{
    struct model_block *block = pool_model_find(&checked->model, address);
    struct pool_mark mark = {.owner = expected_owner};
    enum pool_status expected = expected_of(checked, generation, block, mark);
    uint64_t byte_size = 0;
    enum pool_status status = pool_exchange_owner(&checked->pool, address, generation,
                                                  expected_owner, desired, &byte_size);
    TRACE("owner %" PRIu32 " to %" PRIu32 ": ", expected_owner, desired);
    trace_call(checked, "exchange_owner", address, generation, status);
    expect_status(status, expected, "pool_exchange_owner");
    if (status != POOL_OK) return status;
    CHECK(byte_size == block->granule_count * POOL_GRANULE_BYTE_SIZE,
          "a block has %" PRIu64 " bytes", byte_size);
    if (desired != POOL_ANY_OWNER) block->owner = desired;
    return status;
}

// In half of all cases the mark is one that makes the call right.
static struct pool_mark mark_of_choice(const struct checked_pool *checked, uint64_t choice,
                                       uint64_t address)
{
    const struct model_block *block = pool_model_find(&checked->model, address);
    bool is_any = choice / 2 % 4 == 0;
    if (choice % 2 == 0 && block != NULL) {
        return (struct pool_mark){is_any ? POOL_ANY_OWNER : block->owner, block->tag};
    }
    return (struct pool_mark){is_any ? POOL_ANY_OWNER : owner_of_choice(choice / 8),
                              (uint32_t)(choice / 2 % (TAG_COUNT + 1))};
}

void checked_use_mark(struct checked_pool *checked, uint64_t choice, uint64_t address,
                      uint64_t generation)
{
    struct pool_mark mark = mark_of_choice(checked, choice / 16, address);
    struct pool_mark desired = {owner_of_choice(choice / 2),
                                (uint32_t)(choice / 4 % (TAG_COUNT + 1))};
    if (choice % 16 == 15) desired.owner = POOL_ANY_OWNER;
    if (choice % 4 == 3) checked_free_marked(checked, address, generation, mark);
    else if (choice % 8 == 6) checked_free_for(checked, address, generation, mark.owner);
    else if (choice % 8 == 5)
        checked_exchange_owner(checked, address, generation, mark.owner, desired.owner);
    else checked_exchange_mark(checked, address, generation, mark, desired);
}

// ---- What owners have

static void expect_owned(const struct checked_pool *checked, uint32_t owner,
                         const struct pool_owned_block *found)
{
    const struct model_block *block = pool_model_find(&checked->model, found->address);
    CHECK(block != NULL, "no block lives at %#" PRIx64, found->address);
    CHECK(found->owner == block->owner, "a block of owner %" PRIu32 " has owner %" PRIu32,
          block->owner, found->owner);
    CHECK(owner == POOL_ANY_OWNER || owner == found->owner, "a block of another owner was found");
    CHECK(found->tag == block->tag, "a block has tag %" PRIu32, found->tag);
    CHECK(found->byte_size == block->granule_count * POOL_GRANULE_BYTE_SIZE,
          "a block has %" PRIu64 " bytes", found->byte_size);
    CHECK(found->generation == checked->generation, "a block is of another generation");
}

static void find_for(struct checked_pool *checked, uint32_t owner)
{
    enum { FOUND_COUNT_MAX = 5 };
    size_t owned_count = 0;
    for (size_t i = 0; i < checked->model.block_count; i++) {
        owned_count += owner == POOL_ANY_OWNER || checked->model.blocks[i].owner == owner;
    }
    // No block changes meanwhile, so each of them is found once.
    uint64_t cursor = 0;
    do {
        struct pool_owned_block found[FOUND_COUNT_MAX];
        uint32_t found_count =
            pool_find_owned(&checked->pool, owner, &cursor, found, FOUND_COUNT_MAX);
        CHECK(found_count <= FOUND_COUNT_MAX && found_count <= owned_count,
              "owner %" PRIu32 " has not so many blocks", owner);
        owned_count -= found_count;
        for (uint32_t i = 0; i < found_count; i++) expect_owned(checked, owner, &found[i]);
    } while (cursor != 0);
    CHECK(owned_count == 0, "%zu blocks of owner %" PRIu32 " were not found", owned_count, owner);
}

void checked_find(struct checked_pool *checked)
{
    for (uint64_t choice = 0; choice < OWNER_COUNT; choice++) {
        find_for(checked, owner_of_choice(choice));
    }
    find_for(checked, POOL_ANY_OWNER);
}

void checked_free_all(struct checked_pool *checked)
{
    while (checked->model.block_count > 0) {
        size_t last = checked->model.block_count - 1;
        uint64_t address = pool_model_address(&checked->model, last);
        uint32_t tag = checked->model.blocks[last].tag;
        if (tag != 0)
            checked_free_marked(checked, address, 0, (struct pool_mark){POOL_ANY_OWNER, tag});
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
    checked_find(checked);
    checked_verify_stats(checked);
}
