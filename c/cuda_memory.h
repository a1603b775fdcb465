// What the CUDA memory manager offers its neighbours in this library.
#ifndef CUDA_MEMORY_H
#define CUDA_MEMORY_H

#include "pool.h"
#include "pool_report.h"

// The pool of a device, open or closed; for an id that no device can have, one that never opens.
struct pool *cuda_memory_pool(double device_id);

// Why a pool did not give memory, in words.
void cuda_memory_describe_refusal(char text[POOL_REPORT_BYTE_SIZE_MAX], enum pool_status status,
                                  const struct pool_stats *full);

#endif
