// How pools refuse a request, and what is said about it: a warning where memory of another kind is
// taken instead, the first time in the process for each kind of fallback, GPU, cause and account; an
// error where none is.
#ifndef REFUSAL_H
#define REFUSAL_H

#include <stdbool.h>

#include "bun_cuda_memory.h"
#include "pool/pool.h"

// How a pool refused a request.
struct refusal {
    enum pool_status status;
    const char *why_closed; // in words, where the status is POOL_CLOSED or POOL_REFUSING
    struct pool_stats full; // the pool's statistics at that moment, where it serves
};

// A request, and the pools that refused it.
struct refused_request {
    double byte_size;
    double device_id;
    const struct refusal *cuda;   // null where CUDA memory was not asked for
    const struct refusal *pinned; // null where pinned memory was not asked for, or was got
    bool has_tried_nonpinned;
    uint64_t account_key; // 0 where it is on nobody's
};

// For a request that was served by a fallback. MEMORY_OK_WITH_WARNINGS where the message now holds
// warnings that this process has not seen yet, a line each; otherwise MEMORY_FALLBACK, and the message is
// made by memory_explain_fallback(), because most callers do without.
enum memory_status refusal_report_fallback(const struct refused_request *request);

// For a request that nothing served. Returns MEMORY_UNAVAILABLE where the last pool that was asked is
// closed and nothing was asked after it, otherwise MEMORY_OUT_OF_MEMORY with the figures of that pool;
// the message has a line for each refusal.
enum memory_status refusal_report_failure(const struct refused_request *request);

#endif
