// How pools are spoken of outside the library: their statistics as doubles, and the text of what
// a full pool had left.
#ifndef POOL_REPORT_H
#define POOL_REPORT_H

#include "bun_cuda_memory.h"
#include "pool.h"

// "pool X is full: N bytes free of M, the largest free block is K bytes", and the like.
enum { POOL_REPORT_BYTE_SIZE_MAX = 256 };
void pool_describe_refusal(char text[POOL_REPORT_BYTE_SIZE_MAX], enum pool_status status,
                           const struct pool_stats *full);

void pool_stats_to_doubles(const struct pool_stats *stats, struct memory_pool_stats *doubles);

#endif
