#include "memory/refusal.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "cuda/lost.h"
#include "memory/accounts.h"
#include "memory/fallback_warnings.h"
#include "memory/nonpinned_limit.h"
#include "message.h"

enum { REASON_BYTE_SIZE_MAX = 2048 };

// Whether the pool has refused without a look at what is free in it.
static bool serves_nothing(const struct refusal *refusal)
{
    return refusal->status == POOL_CLOSED || refusal->status == POOL_REFUSING;
}

static void describe_limit(char reason[REASON_BYTE_SIZE_MAX], uint64_t account_key)
{
    const struct account *account = &accounts[account_of_key(account_key)];
    char name[ACCOUNT_NAME_BYTE_SIZE_MAX];
    accounts_copy_name(account_key, name);
    snprintf(reason, REASON_BYTE_SIZE_MAX,
             "the account \"%s\" has %" PRIu64 " of the %.0f bytes that it may have%s", name,
             account_granules_of(account->charged) * POOL_GRANULE_BYTE_SIZE,
             account->limit_byte_size,
             account->waiting_count > 0 ? ", and others wait for the rest" : "");
}

static const char *in_words(enum pool_status status)
{
    switch (status) {
    case POOL_OUT_OF_METADATA:
        return "the system refuses memory for the pool's tables";
    case POOL_AWAITED:
        return "others wait for what is free";
    default:
        return "no free block is large enough";
    }
}

static void describe(char reason[REASON_BYTE_SIZE_MAX], const struct refused_request *request,
                     const struct refusal *refusal)
{
    if (serves_nothing(refusal)) {
        snprintf(reason, REASON_BYTE_SIZE_MAX, "%s", refusal->why_closed);
        return;
    }
    if (refusal->status == POOL_OVER_LIMIT) {
        describe_limit(reason, request->account_key);
        return;
    }
    const struct pool_stats *full = &refusal->full;
    snprintf(reason, REASON_BYTE_SIZE_MAX,
             "%s (%" PRIu64 " of %" PRIu64 " bytes free, largest free block %" PRIu64 " bytes)",
             in_words(refusal->status), full->free_byte_size, full->capacity_byte_size,
             full->largest_free_byte_size);
}

static enum memory_cause cause_of(const struct refusal *refusal)
{
    switch (refusal->status) {
    case POOL_FULL:
    case POOL_AWAITED:
        return MEMORY_CAUSE_FULL;
    case POOL_OVER_LIMIT:
        return MEMORY_CAUSE_OVER_LIMIT;
    case POOL_TOO_LARGE:
        return MEMORY_CAUSE_TOO_LARGE;
    case POOL_OUT_OF_METADATA:
        return MEMORY_CAUSE_NO_TABLES;
    case POOL_REFUSING:
        return MEMORY_CAUSE_LOST;
    default:
        return MEMORY_CAUSE_NO_POOL;
    }
}

// Why CUDA memory was refused. There is no pool either where CUDA was lost before one could be made.
static enum memory_cause cuda_cause_of(const struct refusal *refusal)
{
    return serves_nothing(refusal) && cuda_is_lost() ? MEMORY_CAUSE_LOST : cause_of(refusal);
}

// Why the kind of memory that the request began with did not serve it.
static void set_cause(const struct refused_request *request)
{
    message_set_cause(request->cuda != NULL ? cuda_cause_of(request->cuda)
                                            : cause_of(request->pinned));
}

static void report_cuda(const struct refused_request *request, const char *consequence)
{
    char reason[REASON_BYTE_SIZE_MAX];
    describe(reason, request, request->cuda);
    message_add("failed to allocate %.0f bytes of CUDA memory on GPU %.0f: %s%s",
                request->byte_size, request->device_id, reason, consequence);
}

static void report_pinned(const struct refused_request *request, const char *consequence)
{
    char reason[REASON_BYTE_SIZE_MAX];
    describe(reason, request, request->pinned);
    message_add("failed to allocate %.0f bytes of pinned system memory: %s%s", request->byte_size,
                reason, consequence);
}

// The thread's last fallback that the process had been warned of, for memory_explain_fallback().
static _Thread_local struct {
    struct refused_request request;
    struct refusal cuda, pinned;
} explained;

static void keep_to_explain(const struct refused_request *request)
{
    explained.request = *request;
    if (request->cuda != NULL) {
        explained.cuda = *request->cuda;
        explained.request.cuda = &explained.cuda;
    }
    if (request->pinned != NULL) {
        explained.pinned = *request->pinned;
        explained.request.pinned = &explained.pinned;
    }
}

void memory_explain_fallback(void)
{
    const struct refused_request *request = &explained.request;
    message_clear();
    if (request->cuda == NULL && request->pinned == NULL) return; // there was none
    set_cause(request);
    if (request->cuda != NULL) report_cuda(request, "; falling back to pinned system memory");
    if (request->pinned != NULL) {
        report_pinned(request, "; falling back to non-pinned system memory");
    }
}

// Nearly all fallbacks come to a load for each refusal and a copy; to make the message takes far longer.
enum memory_status refusal_report_fallback(const struct refused_request *request)
{
    const struct refusal *cuda = request->cuda, *pinned = request->pinned;
    uint32_t account = account_of_key(request->account_key);
    bool warns_of_cuda = cuda != NULL && fallback_warn_once(FALLBACK_FROM_CUDA, request->device_id,
                                                            cuda_cause_of(cuda), account);
    bool warns_of_pinned =
        pinned != NULL && fallback_warn_once(FALLBACK_FROM_PINNED,
                                             cuda != NULL ? request->device_id : FALLBACK_NO_GPU,
                                             cause_of(pinned), account);
    if (!warns_of_cuda && !warns_of_pinned) {
        keep_to_explain(request);
        return MEMORY_FALLBACK;
    }
    message_clear();
    set_cause(request);
    if (warns_of_cuda) {
        report_cuda(request, "; falling back to pinned system memory (this warning is not "
                             "repeated)");
    }
    if (warns_of_pinned) {
        report_pinned(request, "; falling back to non-pinned system memory (this warning is not "
                               "repeated)");
    }
    return MEMORY_OK_WITH_WARNINGS;
}

// What is said of non-pinned memory, which this thread has just been refused.
static void describe_nonpinned(char reason[REASON_BYTE_SIZE_MAX])
{
    struct nonpinned_refusal refusal;
    if (!nonpinned_limit_has_refused(&refusal)) {
        snprintf(reason, REASON_BYTE_SIZE_MAX, "; the system has no non-pinned memory either");
        return;
    }
    snprintf(reason, REASON_BYTE_SIZE_MAX,
             "; non-pinned memory has a limit (%" PRIu64 " of %" PRIu64 " bytes are in use)",
             refusal.taken_byte_size, refusal.limit_byte_size);
}

enum memory_status refusal_report_failure(const struct refused_request *request)
{
    message_clear();
    set_cause(request);
    if (request->cuda != NULL) report_cuda(request, "");
    if (request->pinned != NULL) {
        char nonpinned[REASON_BYTE_SIZE_MAX] = "";
        if (request->has_tried_nonpinned) describe_nonpinned(nonpinned);
        report_pinned(request, nonpinned);
    }
    const struct refusal *last = request->pinned != NULL ? request->pinned : request->cuda;
    if (last->status == POOL_OVER_LIMIT) {
        const struct account *account = &accounts[account_of_key(request->account_key)];
        uint64_t limit = account->limit_granule_count;
        uint64_t used = account_granules_of(account->charged);
        double room = used < limit ? (double)((limit - used) * POOL_GRANULE_BYTE_SIZE) : 0;
        message_set_byte_sizes(request->byte_size, room, NAN);
        return MEMORY_OUT_OF_MEMORY;
    }
    bool is_lost = last == request->cuda && cuda_cause_of(last) == MEMORY_CAUSE_LOST;
    if (is_lost) {
        message_set_cuda_error(cuda_lost_error());
        return MEMORY_DEVICE_LOST;
    }
    if (serves_nothing(last) && !request->has_tried_nonpinned) return MEMORY_UNAVAILABLE;
    bool is_full = !serves_nothing(last);
    message_set_byte_sizes(request->byte_size, is_full ? (double)last->full.free_byte_size : NAN,
                           is_full ? (double)last->full.largest_free_byte_size : NAN);
    return MEMORY_OUT_OF_MEMORY;
}
