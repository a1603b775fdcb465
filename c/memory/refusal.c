#include "memory/refusal.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "bun_cuda_memory.h"
#include "memory/cuda_memory.h"
#include "message.h"

enum { REASON_BYTE_SIZE_MAX = 256 };

static void describe(char reason[REASON_BYTE_SIZE_MAX], const struct refusal *refusal,
                     const char *why_closed)
{
    if (refusal->status == POOL_CLOSED) {
        snprintf(reason, REASON_BYTE_SIZE_MAX, "%s", why_closed);
        return;
    }
    const struct pool_stats *full = &refusal->full;
    snprintf(reason, REASON_BYTE_SIZE_MAX,
             "%s (%" PRIu64 " of %" PRIu64 " bytes free, largest free block %" PRIu64 " bytes)",
             refusal->status == POOL_FULL ? "no free block is large enough"
                                          : "the system refuses memory for the pool's tables",
             full->free_byte_size, full->capacity_byte_size, full->largest_free_byte_size);
}

static void report_cuda(const struct fallback *fallback, const char *consequence)
{
    char reason[REASON_BYTE_SIZE_MAX];
    describe(reason, fallback->cuda, cuda_memory_why_closed());
    message_add("failed to allocate %.0f bytes of CUDA memory on GPU %.0f: %s%s",
                fallback->byte_size, fallback->device_id, reason, consequence);
}

static void report_pinned(const struct fallback *fallback, const char *consequence)
{
    char reason[REASON_BYTE_SIZE_MAX];
    describe(reason, fallback->pinned, "there is no pinned memory pool");
    message_add("failed to allocate %.0f bytes of pinned system memory: %s%s", fallback->byte_size,
                reason, consequence);
}

int32_t fallback_report_success(const struct fallback *fallback)
{
    static atomic_bool has_warned_of_pinned, has_warned_of_nonpinned;
    message_clear();
    bool has_warning = false;
    if (fallback->cuda != NULL && !atomic_exchange(&has_warned_of_pinned, true)) {
        report_cuda(fallback, "; falling back to pinned system memory (this warning is not "
                              "repeated)");
        has_warning = true;
    }
    if (fallback->pinned != NULL && !atomic_exchange(&has_warned_of_nonpinned, true)) {
        report_pinned(fallback, "; falling back to non-pinned system memory (this warning is not "
                                "repeated)");
        has_warning = true;
    }
    return has_warning;
}

int32_t fallback_report_failure(const struct fallback *fallback)
{
    message_clear();
    if (fallback->cuda != NULL) report_cuda(fallback, "");
    if (fallback->pinned != NULL) {
        report_pinned(fallback, fallback->has_tried_nonpinned
                                    ? "; the system has no non-pinned memory either"
                                    : "");
    }
    bool is_closed =
        fallback->cuda != NULL && fallback->cuda->status == POOL_CLOSED && fallback->pinned == NULL;
    return is_closed ? MEMORY_UNAVAILABLE : MEMORY_INTERNAL;
}
