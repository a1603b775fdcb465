// Allocated memory: CUDA memory where it was asked for, then pinned system memory, then non-pinned
// system memory.

#include <stdbool.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "memory/account_figures.h"
#include "memory/allocation.h"
#include "memory/collected_memory.h"
#include "memory/cuda_memory.h"
#include "memory/ended_owners.h"
#include "memory/lifecycle_lock.h"
#include "memory/pinned_memory.h"
#include "memory/pools.h"
#include "memory/refusal.h"
#include "memory/stream_ordered.h"
#include "memory/waiting.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

// ---- Allocating

// What is asked for.
struct request {
    double byte_size;
    double place;
    enum memory_fallback fallback; // never MEMORY_FALLBACK_DEFAULT
    struct pool_client client;
    const struct cuda_stream *stream; // or null
};

static _Atomic int32_t default_fallback = MEMORY_FALLBACK_SYSTEM;

void memory_set_default_fallback(double fallback)
{
    default_fallback = (int32_t)fallback;
}

static struct refused_request refused_by(const struct request *request, const struct refusal *cuda,
                                         const struct refusal *pinned)
{
    return (struct refused_request){.byte_size = request->byte_size,
                                    .device_id = (double)device_id_of_place(request->place),
                                    .account_key = request->client.account_key,
                                    .cuda = cuda,
                                    .pinned = pinned};
}

static enum memory_status fall_back(const struct request *request,
                                    const struct refused_request *refused)
{
    accounts_note_refusal(request->place, request->client.account_key, true);
    return refusal_report_fallback(refused);
}

// A request that may fall as far as it can, and is within its account's limit, fails only where there is
// no memory at all.
static enum memory_status fail(const struct request *request, const struct refused_request *refused)
{
    const struct refusal *last = refused->pinned != NULL ? refused->pinned : refused->cuda;
    accounts_note_refusal(request->place, request->client.account_key, false);
    enum memory_status status = refusal_report_failure(refused);
    bool is_answered =
        request->fallback == MEMORY_FALLBACK_SYSTEM && last->status != POOL_OVER_LIMIT;
    return is_answered ? MEMORY_NOTHING_SERVES : status;
}

static bool may_collect(const struct request *request)
{
    return collected_memory_may_help(request->client.owner);
}

// Memory of the system heap is what a request for ordinary memory asks for, and to others a fallback.
static bool may_be_nonpinned(const struct request *request, const struct refusal *pinned)
{
    if (pinned->status == POOL_OVER_LIMIT) return false;
    return memory_type_of_place(request->place) == MEMORY_CPU ||
           request->fallback == MEMORY_FALLBACK_SYSTEM;
}

static enum memory_status alloc_nonpinned(struct memory_allocation *allocation,
                                          const struct request *request, const struct refusal *cuda,
                                          struct refusal *pinned)
{
    struct refused_request refused = refused_by(request, cuda, pinned);
    refused.has_tried_nonpinned = true;
    switch (nonpinned_memory_alloc_for(allocation, request->byte_size, &request->client)) {
    case POOL_OK:
        if (memory_type_of_place(request->place) == MEMORY_CPU) return MEMORY_OK;
        return fall_back(request, &refused);
    case POOL_ACCOUNT_ENDED:
        return MEMORY_ACCOUNT_ENDED;
    case POOL_OVER_LIMIT:
        pinned->status = POOL_OVER_LIMIT;
        refused.has_tried_nonpinned = false;
        return fail(request, &refused);
    default:
        return fail(request, &refused);
    }
}

// Allocates host memory. `cuda` is how the CUDA pool has refused, or null where it was not asked.
static enum memory_status alloc_on_host(struct memory_allocation *allocation,
                                        const struct request *request, const struct refusal *cuda)
{
    struct refusal pinned;
    if (pinned_memory_alloc_for(allocation, request->byte_size, &request->client, &pinned)) {
        struct refused_request refused = refused_by(request, cuda, NULL);
        return cuda == NULL ? MEMORY_OK : fall_back(request, &refused);
    }
    if (pinned.status == POOL_ACCOUNT_ENDED) return MEMORY_ACCOUNT_ENDED;
    if (may_collect(request)) return MEMORY_COLLECT_FIRST;
    if (may_be_nonpinned(request, &pinned)) {
        return alloc_nonpinned(allocation, request, cuda, &pinned);
    }
    struct refused_request refused = refused_by(request, cuda, &pinned);
    return fail(request, &refused);
}

// Serves a request that the GPU's pool has refused, or that names a stream.
static __attribute__((cold, noinline)) enum memory_status
alloc_on_gpu(struct memory_allocation *allocation, const struct request *request)
{
    // What threads have left behind that ended without freeing it.
    ended_owners_clean_up();
    struct pool *pool = &gpu_pool((double)device_id_of_place(request->place))->pool;
    struct pool_block block;
    struct refusal cuda;
    cuda.status = stream_ordered_alloc(pool, whole_number(request->byte_size), &request->client,
                                       request->stream, &block, &cuda.full);
    if (cuda.status == POOL_OK) {
        allocation_fill(allocation, block, request->byte_size, request->place,
                        request->client.owner);
        return MEMORY_OK;
    }
    if (cuda.status == POOL_ACCOUNT_ENDED) return MEMORY_ACCOUNT_ENDED;
    cuda.why_closed = cuda_memory_why_closed();
    bool may_fall = request->fallback != MEMORY_FALLBACK_NONE && cuda.status != POOL_OVER_LIMIT;
    if (may_fall) return alloc_on_host(allocation, request, &cuda);
    if (may_collect(request)) return MEMORY_COLLECT_FIRST;
    struct refused_request refused = refused_by(request, &cuda, NULL);
    return fail(request, &refused);
}

// The pool that a request looks in first. A GPU's id must be one that a GPU can have.
static inline struct pool *first_pool_of(int32_t memory_type, int64_t device_id)
{
    if (memory_type != MEMORY_GPU) return &pinned_pool()->pool;
    return &gpu_pool_of_memory((int32_t)device_id)->pool;
}

static __attribute__((cold, noinline)) enum memory_status
request_after_refusal(struct memory_allocation *allocation, double byte_size, double place)
{
    return allocated_memory_request(allocation, byte_size, place, MEMORY_FALLBACK_DEFAULT);
}

// What follows a refusal is kept out of the way: this is all that a fast call needs.
enum memory_status allocated_memory_alloc(struct memory_allocation *allocation, double byte_size,
                                          double place)
{
    uint32_t owner = (uint32_t)(int64_t)allocation->owner;
    int32_t memory_type = memory_type_of_place(place);
    int64_t device_id = device_id_of_place(place);
    struct pool_block block;
    if (device_id < DEVICE_COUNT_MAX &&
        __builtin_expect(pool_alloc(first_pool_of(memory_type, device_id), whole_number(byte_size),
                                    owner, &block, NULL) == POOL_OK,
                         1)) {
        allocation_fill(allocation, block, byte_size,
                        memory_type == MEMORY_GPU ? place : MEMORY_CPU_PINNED, owner);
        return MEMORY_OK;
    }
    return request_after_refusal(allocation, byte_size, place);
}

// Serves a request as far as it may fall, after a look at its stream.
static __attribute__((cold, noinline)) enum memory_status
serve_slowly(struct memory_allocation *allocation, struct request *request)
{
    uint64_t key = request->client.account_key;
    if (key != 0 && key != account_key(account_of_key(key))) return MEMORY_ACCOUNT_ENDED;
    message_clear();
    if (request->fallback == MEMORY_FALLBACK_DEFAULT) {
        request->fallback = (enum memory_fallback)default_fallback;
    }
    enum memory_status status = request->stream == NULL ? MEMORY_OK : stream_check(request->stream);
    if (status == MEMORY_UNSUPPORTED) return status;
    // Where CUDA cannot tell, the request does without what the stream might have given it.
    if (status != MEMORY_OK) request->stream = NULL;
    return memory_type_of_place(request->place) == MEMORY_GPU
               ? alloc_on_gpu(allocation, request)
               : alloc_on_host(allocation, request, NULL);
}

static struct request request_of(const struct memory_allocation *allocation, double byte_size,
                                 double place, double terms)
{
    int32_t memory_type = memory_type_of_place(place);
    return (struct request){
        .byte_size = byte_size,
        // Host memory is the same whatever GPU the request names.
        .place = memory_type == MEMORY_GPU ? place : memory_type,
        .fallback = (enum memory_fallback)(whole_number(terms) & 3),
        .client = {.owner = (uint32_t)allocation->owner, .account_key = whole_number(terms) >> 2},
    };
}

enum memory_status allocated_memory_request(struct memory_allocation *allocation, double byte_size,
                                            double place, double terms)
{
    int32_t memory_type = memory_type_of_place(place);
    int64_t device_id = device_id_of_place(place);
    const struct pool_client client = {.owner = (uint32_t)(int64_t)allocation->owner,
                                       .account_key = whole_number(terms) >> 2};
    struct pool_block block;
    if (device_id < DEVICE_COUNT_MAX &&
        pool_alloc_for(first_pool_of(memory_type, device_id), whole_number(byte_size), &client,
                       &block, NULL) == POOL_OK) {
        allocation_fill(allocation, block, byte_size,
                        memory_type == MEMORY_GPU ? place : MEMORY_CPU_PINNED, client.owner);
        return MEMORY_OK;
    }
    struct request request = request_of(allocation, byte_size, place, terms);
    return serve_slowly(allocation, &request);
}

enum memory_status allocated_memory_request_on_stream(struct memory_allocation *allocation,
                                                      double byte_size, double place, double terms,
                                                      const struct cuda_stream *stream)
{
    struct request request = request_of(allocation, byte_size, place, terms);
    request.stream = stream;
    return serve_slowly(allocation, &request);
}

// ---- Freeing

static enum memory_status freed_already(double address, double device_id)
{
    return message_set(MEMORY_INVALID_ARG,
                       "failed to free 0x%llx on GPU %.0f: it was freed already, behind the back "
                       "of its AllocatedMemory",
                       (unsigned long long)address, device_id);
}

enum memory_status allocated_memory_free(double address, double place, double origin)
{
    int32_t memory_type = memory_type_of_place(place);
    int32_t device_id = (int32_t)device_id_of_place(place);
    uint64_t generation = generation_of(origin);
    uint32_t owner = owner_of_origin(origin);
    if (memory_type != MEMORY_GPU) {
        return system_memory_free(address, memory_type, generation, owner);
    }
    enum pool_status status = stream_ordered_free_now(&gpu_pool_of_memory(device_id)->pool,
                                                      whole_number(address), generation, owner);
    if (__builtin_expect(status == POOL_NOT_ALLOCATED, 0)) return freed_already(address, device_id);
    return waiting_after_free(MEMORY_OK);
}

static enum memory_status free_on_streams(const struct memory_allocation *allocation,
                                          const struct cuda_stream *streams, uint32_t stream_count)
{
    if (memory_type_of_place(allocation->place) != MEMORY_GPU) {
        return system_memory_free_on_streams(allocation, streams, stream_count);
    }
    double device_id = (double)device_id_of_place(allocation->place);
    enum memory_status status =
        stream_ordered_free(&gpu_pool(device_id)->pool, whole_number(allocation->address),
                            generation_of(allocation->origin), owner_of_origin(allocation->origin),
                            streams, stream_count);
    return status == MEMORY_INVALID_ARG ? freed_already(allocation->address, device_id) : status;
}

enum memory_status allocated_memory_free_on_streams(const struct memory_allocation *allocation,
                                                    const struct cuda_stream *streams,
                                                    int32_t stream_count)
{
    // Of a lost CUDA no work is under way any more.
    if (cuda_is_lost()) {
        return allocated_memory_free(allocation->address, allocation->place, allocation->origin);
    }
    lifecycle_lock_shared();
    message_clear();
    enum memory_status status = free_on_streams(allocation, streams, (uint32_t)stream_count);
    lifecycle_unlock();
    if (status != MEMORY_DEVICE_LOST) return waiting_after_free(status);
    // That CUDA is lost was found here.
    return allocated_memory_free_on_streams(allocation, streams, stream_count);
}
