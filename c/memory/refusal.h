// What is said when memory of one kind cannot be had and memory of another is taken: a warning, the
// first time in the process for each kind of fallback; or an error where there is nothing to take.
#ifndef FALLBACK_H
#define FALLBACK_H

#include <stdbool.h>

#include "pool/pool.h"

// How a pool refused a request.
struct refusal {
    enum pool_status status;
    struct pool_stats full; // of a pool that is open
};

// A request, and what refused it.
struct fallback {
    double byte_size;
    double device_id;
    const struct refusal *cuda;   // null where CUDA memory was not asked for
    const struct refusal *pinned; // null where pinned memory was not asked for, or was got
    bool has_tried_nonpinned;
};

// For a request that was served in the end. Returns 1 where the message now holds warnings that
// this process has not seen yet, a line each, otherwise 0.
int32_t fallback_report_success(const struct fallback *fallback);

// For a request that nothing served. Returns the memory_status of the first refusal; the message
// has a line for each.
int32_t fallback_report_failure(const struct fallback *fallback);

#endif
