// Memory belongs to the owner that it was allocated for: memory of a pool, of the system heap, and
// memory that was freed on a stream.

#include <stddef.h>

#include "check.h"
#include "memory/nonpinned_memory.h"
#include "memory/pools.h"
#include "owned_memory.h"
#include "stream_fixture.h"

enum { OWNER = 5, OTHER_OWNER = 6 };

static struct memory_allocation alloc_for(int32_t owner, double byte_size, double memory_type)
{
    struct memory_allocation memory;
    CHECK(owned_memory_alloc(&memory, byte_size, memory_type, 0, owner) >= MEMORY_OK, "%s",
          memory_message());
    return memory;
}

static enum memory_status free_for(int32_t owner, const struct memory_allocation *memory)
{
    return owned_memory_free(memory, owner);
}

// What the pool of GPU 0 finds for an owner, which has to be one block at most. Its address, or 0.
static double found_in_pool(uint32_t owner)
{
    struct pool_owned_block found[2];
    uint64_t cursor = 0;
    uint32_t found_count = pool_find_owned(&gpu_pool(0)->pool, owner, &cursor, found, 2);
    CHECK(found_count <= 1 && cursor == 0, "a small pool is looked at in one piece");
    return found_count == 0 ? 0 : (double)found[0].address;
}

static void only_its_owner_frees(void)
{
    set_up();
    // The last is of the system heap, because the pinned pool is full by then.
    const double memory_types[] = {MEMORY_GPU, MEMORY_CPU_PINNED, MEMORY_CPU};
    for (int i = 0; i < 3; i++) {
        struct memory_allocation memory = alloc_for(OWNER, POOL_BYTE_SIZE, memory_types[i]);
        struct memory_allocation filler = {0};
        if (i == 1) {
            CHECK(memory_type_of(&memory) == MEMORY_CPU_PINNED, "the pinned pool serves");
            filler = alloc_for(0, POOL_BYTE_SIZE, MEMORY_CPU);
            CHECK(memory_type_of(&filler) == MEMORY_CPU, "the pinned pool is full");
        }
        CHECK(free_for(OTHER_OWNER, &memory) == MEMORY_INVALID_ARG, "another owner");
        CHECK(free_for(0, &memory) == MEMORY_INVALID_ARG, "the process");
        CHECK(owned_memory_free_on_stream(&memory, &streams[0], OTHER_OWNER) == MEMORY_INVALID_ARG,
              "another owner, on a stream");
        CHECK(free_for(OWNER, &memory) == MEMORY_OK, "%s", memory_message());
        CHECK(free_for(OWNER, &memory) == MEMORY_INVALID_ARG, "it is freed once");
        if (i == 1) CHECK(free_for(0, &filler) == MEMORY_OK, "%s", memory_message());
    }
    tear_down();
}

static void what_is_pending_is_nobodys(void)
{
    set_up();
    struct memory_allocation memory = alloc_for(OWNER, POOL_BYTE_SIZE, MEMORY_GPU);
    CHECK(found_in_pool(OWNER) == memory.address, "the owner has it");
    hold_stream(&streams[0], &holds[0]);
    CHECK(owned_memory_free_on_stream(&memory, &streams[0], OWNER) == MEMORY_OK, "%s",
          memory_message());
    CHECK(found_in_pool(OWNER) == 0, "the owner has freed it");
    CHECK(free_for(OWNER, &memory) == MEMORY_INVALID_ARG, "it is freed once");
    CHECK(cuda_memory_free(memory.address, 0) == MEMORY_INVALID_ARG, "by whomsoever");

    struct memory_allocation reused;
    CHECK(owned_memory_alloc_on_stream(&reused, POOL_BYTE_SIZE, MEMORY_GPU, 0, &streams[0],
                                       OTHER_OWNER) == MEMORY_OK,
          "%s", memory_message());
    CHECK(reused.address == memory.address, "the stream's own block is reused");
    CHECK(found_in_pool(OTHER_OWNER) == reused.address, "it is its new owner's");
    CHECK(free_for(OWNER, &reused) == MEMORY_INVALID_ARG, "and not its first owner's");
    CHECK(free_for(OTHER_OWNER, &reused) == MEMORY_OK, "%s", memory_message());
    CHECK(found_in_pool(OTHER_OWNER) == 0, "it is pending again");
    CHECK(free_for(OTHER_OWNER, &reused) == MEMORY_INVALID_ARG, "it is freed once");
    release_and_synchronize(0);
    expect_used(0);
    tear_down();
}

static void reused_memory_stays_its_owners(void)
{
    set_up();
    struct memory_allocation memory = free_all_on_held_stream(), reused;
    CHECK(owned_memory_alloc_on_stream(&reused, POOL_BYTE_SIZE, MEMORY_GPU, 0, &streams[0],
                                       OWNER) == MEMORY_OK,
          "%s", memory_message());
    CHECK(reused.address == memory.address, "the stream's own block is reused");
    release_and_synchronize(0);
    expect_used(POOL_BYTE_SIZE); // the earlier use is over now
    CHECK(found_in_pool(OWNER) == reused.address, "the block is still its owner's");
    CHECK(free_for(OTHER_OWNER, &reused) == MEMORY_INVALID_ARG, "and nobody else's");
    CHECK(free_for(OWNER, &reused) == MEMORY_OK, "%s", memory_message());
    expect_used(0);
    tear_down();
}

// ---- Non-pinned memory

enum { HEAP_BLOCK_COUNT = 10000 };

static uint32_t owner_of_block(uint32_t i)
{
    return i % 3;
}

// Frees all that the owner has, and returns how many blocks that was.
static uint32_t free_all_of(uint32_t owner)
{
    struct pool_owned_block found[64];
    uint64_t cursor = 0;
    uint32_t freed_count = 0;
    do {
        uint32_t found_count = nonpinned_memory_find_owned(owner, &cursor, found, 64);
        for (uint32_t i = 0; i < found_count; i++) {
            CHECK(found[i].owner == owner && found[i].byte_size == 1, "another block was found");
            bool is_freed = POOL_OK == nonpinned_memory_free((void *)(uintptr_t)found[i].address,
                                                             found[i].generation, owner);
            freed_count += is_freed;
        }
    } while (cursor != 0);
    return freed_count;
}

static void a_walk_over_the_heap_misses_nothing(void)
{
    static void *pointers[HEAP_BLOCK_COUNT];
    uint64_t generation = 0;
    for (uint32_t i = 0; i < HEAP_BLOCK_COUNT; i++) {
        const struct pool_client client = {.owner = owner_of_block(i)};
        struct pool_block block;
        CHECK(nonpinned_memory_alloc(1, &client, &block) == POOL_OK, "no memory");
        pointers[i] = (void *)(uintptr_t)block.address;
        generation = block.generation;
    }
    CHECK(nonpinned_memory_exchange_owner(pointers[0], generation, 1, 2, NULL) ==
              POOL_NOT_ALLOCATED,
          "a block of another owner is not handed over");
    uint64_t byte_size;
    CHECK(nonpinned_memory_exchange_owner(pointers[0], generation, 0, 1, &byte_size) == POOL_OK &&
              byte_size == 1,
          "a block is handed over");
    CHECK(nonpinned_memory_exchange_owner(pointers[0], generation + 1, 1, 0, NULL) == POOL_CLOSED,
          "a block of another life is not handed over");
    // The blocks of owners 0, 1 and 2 are as many as there are remainders; one has changed hands.
    CHECK(free_all_of(1) == HEAP_BLOCK_COUNT / 3 + 1, "all of owner 1 was found");
    CHECK(free_all_of(1) == 0, "owner 1 has no more");
    CHECK(nonpinned_memory_count() == HEAP_BLOCK_COUNT - HEAP_BLOCK_COUNT / 3 - 1,
          "the others are left");
    nonpinned_memory_reset();
    CHECK(nonpinned_memory_count() == 0 && free_all_of(0) == 0, "a reset frees all");
}

int main(void)
{
    stream_fixture_bind();
    check_case("only its owner frees memory", only_its_owner_frees);
    check_case("what is pending is nobody's", what_is_pending_is_nobodys);
    check_case("reused memory stays its owner's", reused_memory_stays_its_owners);
    check_case("a walk over the heap misses nothing", a_walk_over_the_heap_misses_nothing);
    return check_report();
}
