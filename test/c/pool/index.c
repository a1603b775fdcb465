// The chains of a pool's index are short, whatever regularity the addresses of its blocks have.

#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "pool/pool.h"
#include "pool/tables.h"

// With random addresses the mean is 1.25 where there are half as many live blocks as buckets and
// the number of buckets is a power of two, and a little more where it is not.
static const double MEAN_MAX = 1.45;

static struct pool pool;

// The mean number of links that lead to a live block.
static double mean_link_count(void)
{
    uint64_t link_count = 0, block_count = 0;
    for (uint64_t bucket = 0; bucket < pool.bucket_count; bucket++) {
        uint64_t chain_link_count = 0;
        for (uint32_t number = *bucket_at(&pool, bucket); number != SENTINEL;
             number = node_at(&pool, number)->bucket_next) {
            link_count += ++chain_link_count;
            block_count++;
        }
    }
    CHECK(block_count == pool.live_block_count, "%llu of %llu blocks are in the index",
          (unsigned long long)block_count, (unsigned long long)pool.live_block_count);
    return (double)link_count / (double)block_count;
}

static void fill_with(uint64_t granule_count, uint64_t block_count)
{
    uint64_t byte_size = granule_count * POOL_GRANULE_BYTE_SIZE;
    CHECK(pool_open(&pool, POOL_GRANULE_BYTE_SIZE, block_count * byte_size) == POOL_OK,
          "a pool of %llu blocks", (unsigned long long)block_count);
    for (uint64_t i = 0; i < block_count; i++) {
        struct pool_block block;
        CHECK(pool_alloc(&pool, byte_size, 0, &block, NULL) == POOL_OK, "block %llu",
              (unsigned long long)i);
    }
}

static void blocks_of_one_size_spread(void)
{
    static const uint64_t block_counts[] = {700, 1000, 3000};
    for (uint64_t granule_count = 1; granule_count <= 4100;
         granule_count += granule_count < 260 ? 1 : 30) {
        for (size_t i = 0; i < sizeof block_counts / sizeof *block_counts; i++) {
            fill_with(granule_count, block_counts[i]);
            double mean = mean_link_count();
            CHECK(mean < MEAN_MAX, "%llu blocks of %llu granules: %.2f links to a block",
                  (unsigned long long)block_counts[i], (unsigned long long)granule_count, mean);
            pool_close(&pool);
        }
    }
}

static void blocks_that_stay_when_most_are_freed_spread(void)
{
    for (uint64_t every = 2; every <= 64; every++) {
        fill_with(8, 60000);
        for (uint64_t i = 0; i < 60000; i++) {
            uint64_t address = POOL_GRANULE_BYTE_SIZE * (1 + 8 * i);
            if (i % every != 0) CHECK(pool_free(&pool, address, 0, 0) == POOL_OK, "freed");
        }
        double mean = mean_link_count();
        CHECK(mean < MEAN_MAX, "one block in %llu: %.2f links to a block",
              (unsigned long long)every, mean);
        pool_close(&pool);
    }
}

int main(void)
{
    check_case("blocks of one size spread over the index", blocks_of_one_size_spread);
    check_case("blocks that stay when most are freed spread over the index",
               blocks_that_stay_when_most_are_freed_spread);
    return check_report();
}
