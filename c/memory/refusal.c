#include "memory/refusal.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "cuda/lost.h"
#include "message.h"

enum { REASON_BYTE_SIZE_MAX = 512 };

// Whether the pool has refused without a look at what is free in it.
static bool serves_nothing(const struct refusal *refusal)
{
    return refusal->status == POOL_CLOSED || refusal->status == POOL_REFUSING;
}

static void describe(char reason[REASON_BYTE_SIZE_MAX], const struct refusal *refusal)
{
    if (serves_nothing(refusal)) {
        snprintf(reason, REASON_BYTE_SIZE_MAX, "%s", refusal->why_closed);
        return;
    }
    const struct pool_stats *full = &refusal->full;
    snprintf(reason, REASON_BYTE_SIZE_MAX,
             "%s (%" PRIu64 " of %" PRIu64 " bytes free, largest free block %" PRIu64 " bytes)",
             refusal->status == POOL_OUT_OF_METADATA
                 ? "the system refuses memory for the pool's tables"
                 : "no free block is large enough",
             full->free_byte_size, full->capacity_byte_size, full->largest_free_byte_size);
}

static void report_cuda(const struct refused_request *request, const char *consequence)
{
    char reason[REASON_BYTE_SIZE_MAX];
    describe(reason, request->cuda);
    message_add("failed to allocate %.0f bytes of CUDA memory on GPU %.0f: %s%s",
                request->byte_size, request->device_id, reason, consequence);
}

static void report_pinned(const struct refused_request *request, const char *consequence)
{
    char reason[REASON_BYTE_SIZE_MAX];
    describe(reason, request->pinned);
    message_add("failed to allocate %.0f bytes of pinned system memory: %s%s", request->byte_size,
                reason, consequence);
}

enum memory_status refusal_report_fallback(const struct refused_request *request)
{
    static atomic_bool has_warned_of_pinned, has_warned_of_nonpinned;
    message_clear();
    enum memory_status status = cuda_has_lost_report() ? MEMORY_OK_WITH_WARNINGS : MEMORY_OK;
    if (request->cuda != NULL && !atomic_exchange(&has_warned_of_pinned, true)) {
        report_cuda(request, "; falling back to pinned system memory (this warning is not "
                             "repeated)");
        status = MEMORY_OK_WITH_WARNINGS;
    }
    if (request->pinned != NULL && !atomic_exchange(&has_warned_of_nonpinned, true)) {
        report_pinned(request, "; falling back to non-pinned system memory (this warning is not "
                               "repeated)");
        status = MEMORY_OK_WITH_WARNINGS;
    }
    return status;
}

enum memory_status refusal_report_failure(const struct refused_request *request)
{
    message_clear();
    if (request->cuda != NULL) report_cuda(request, "");
    if (request->pinned != NULL) {
        report_pinned(request, request->has_tried_nonpinned
                                   ? "; the system has no non-pinned memory either"
                                   : "");
    }
    const struct refusal *last = request->pinned != NULL ? request->pinned : request->cuda;
    if (last->status == POOL_REFUSING) {
        message_set_cuda_error(cuda_lost_error());
        return MEMORY_DEVICE_LOST;
    }
    if (serves_nothing(last) && !request->has_tried_nonpinned) return MEMORY_UNAVAILABLE;
    bool is_full = !serves_nothing(last);
    message_set_byte_sizes(request->byte_size, is_full ? (double)last->full.free_byte_size : NAN,
                           is_full ? (double)last->full.largest_free_byte_size : NAN);
    return MEMORY_OUT_OF_MEMORY;
}
