// Which fallbacks this process has warned of, whatever thread made the request.
#ifndef FALLBACK_WARNINGS_H
#define FALLBACK_WARNINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"

enum fallback_kind { FALLBACK_FROM_CUDA, FALLBACK_FROM_PINNED, FALLBACK_KIND_COUNT };

// Stands for the GPU of a request that is for host memory.
enum { FALLBACK_NO_GPU = -1 };

// An account's number, or 0 for a request that is on nobody's account.
enum { FALLBACK_ACCOUNT_MAX = 65535 };

// True once for each kind, GPU, cause and account. No GPU has an id beyond those of the pools, and all
// such ids count as one.
bool fallback_warn_once(enum fallback_kind kind, double device_id, enum memory_cause cause,
                        uint32_t account);

#endif
