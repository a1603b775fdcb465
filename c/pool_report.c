#include "pool_report.h"

#include <inttypes.h>
#include <stdio.h>

void pool_describe_refusal(char text[POOL_REPORT_BYTE_SIZE_MAX], enum pool_status status,
                           const struct pool_stats *full)
{
    const char *reason =
        status == POOL_FULL ? "no free block is large enough" : "no memory for the pool's tables";
    snprintf(text, POOL_REPORT_BYTE_SIZE_MAX,
             "%s (%" PRIu64 " of %" PRIu64 " bytes free, largest free block %" PRIu64 " bytes)",
             reason, full->free_byte_size, full->capacity_byte_size, full->largest_free_byte_size);
}

void pool_stats_to_doubles(const struct pool_stats *stats, struct memory_pool_stats *doubles)
{
    *doubles = (struct memory_pool_stats){
        .capacity_byte_size = (double)stats->capacity_byte_size,
        .used_byte_size = (double)stats->used_byte_size,
        .peak_used_byte_size = (double)stats->peak_used_byte_size,
        .free_byte_size = (double)stats->free_byte_size,
        .largest_free_byte_size = (double)stats->largest_free_byte_size,
        .allocation_count = (double)stats->allocation_count,
        .failed_allocation_count = (double)stats->failed_allocation_count,
    };
}
