// Allocated memory: CUDA memory where it was asked for, then pinned system memory, then non-pinned
// system memory.

#include <stdbool.h>
#include <stddef.h>

#include "bun_cuda_memory.h"
#include "cuda/cudart.h"
#include "cuda/lost.h"
#include "cuda/stream.h"
#include "memory/allocation.h"
#include "memory/collected_memory.h"
#include "memory/cuda_memory.h"
#include "memory/ended_owners.h"
#include "memory/lifecycle_lock.h"
#include "memory/pinned_memory.h"
#include "memory/pools.h"
#include "memory/refusal.h"
#include "memory/stream_ordered.h"
#include "message.h"
#include "owner.h"
#include "whole_number.h"

// ---- Allocating

// What is asked for.
struct request {
    double byte_size;
    double device_id;
    uint32_t owner;
    const struct cuda_stream *stream; // or null
};

// Allocates host memory. `cuda` is how the CUDA pool has refused, or null where it was not asked.
static enum memory_status alloc_on_host(struct memory_allocation *allocation,
                                        const struct request *request, const struct refusal *cuda)
{
    struct refusal pinned;
    bool may_collect = collected_memory_may_help(request->owner);
    bool is_served =
        system_memory_alloc(allocation, request->byte_size, !may_collect, request->owner, &pinned);
    if (cuda == NULL && pinned.status == POOL_OK) return MEMORY_OK;
    if (pinned.status != POOL_OK && may_collect) return MEMORY_COLLECT_FIRST;
    const struct refused_request refused = {.byte_size = request->byte_size,
                                            .device_id = request->device_id,
                                            .cuda = cuda,
                                            .pinned = pinned.status == POOL_OK ? NULL : &pinned,
                                            .has_tried_nonpinned = true};
    return is_served ? refusal_report_fallback(&refused) : refusal_report_failure(&refused);
}

// Serves a request that the GPU's pool has refused, or that names a stream.
static __attribute__((cold, noinline)) enum memory_status
alloc_on_gpu(struct memory_allocation *allocation, const struct request *request)
{
    // What threads have left behind that ended without freeing it.
    ended_owners_clean_up();
    struct pool *pool = &gpu_pool(request->device_id)->pool;
    struct pool_block block;
    struct refusal cuda;
    cuda.status = stream_ordered_alloc(pool, whole_number(request->byte_size), request->owner,
                                       request->stream, &block, &cuda.full);
    if (cuda.status != POOL_OK) {
        cuda.why_closed = cuda_memory_why_closed();
        return alloc_on_host(allocation, request, &cuda);
    }
    allocation_fill(allocation, block, request->byte_size, place_of(MEMORY_GPU, request->device_id),
                    request->owner);
    return MEMORY_OK;
}

// The pool that a request looks in first. A GPU's id must be one that a GPU can have.
static inline struct pool *first_pool_of(int32_t memory_type, int64_t device_id)
{
    if (memory_type != MEMORY_GPU) return &pinned_pool()->pool;
    return &gpu_pool_of_memory((int32_t)device_id)->pool;
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
    return allocated_memory_alloc_on_stream(allocation, byte_size, place, NULL);
}

enum memory_status allocated_memory_alloc_on_stream(struct memory_allocation *allocation,
                                                    double byte_size, double place,
                                                    const struct cuda_stream *stream)
{
    message_clear();
    enum memory_status status = stream == NULL ? MEMORY_OK : stream_check(stream);
    if (status == MEMORY_UNSUPPORTED) return status;
    // Where CUDA cannot tell, the request does without what the stream might have given it.
    if (status != MEMORY_OK) stream = NULL;
    const struct request request = {.byte_size = byte_size,
                                    .device_id = (double)device_id_of_place(place),
                                    .owner = (uint32_t)allocation->owner,
                                    .stream = stream};
    return memory_type_of_place(place) == MEMORY_GPU ? alloc_on_gpu(allocation, &request)
                                                     : alloc_on_host(allocation, &request, NULL);
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
    return __builtin_expect(status != POOL_NOT_ALLOCATED, 1) ? MEMORY_OK
                                                             : freed_already(address, device_id);
}

static enum memory_status free_on_stream(const struct memory_allocation *allocation,
                                         const struct cuda_stream *stream)
{
    if (memory_type_of_place(allocation->place) != MEMORY_GPU) {
        return system_memory_free_on_stream(allocation, stream);
    }
    double device_id = (double)device_id_of_place(allocation->place);
    enum memory_status status = stream_ordered_free(
        &gpu_pool(device_id)->pool, whole_number(allocation->address),
        generation_of(allocation->origin), owner_of_origin(allocation->origin), stream);
    return status == MEMORY_INVALID_ARG ? freed_already(allocation->address, device_id) : status;
}

enum memory_status allocated_memory_free_on_stream(const struct memory_allocation *allocation,
                                                   const struct cuda_stream *stream)
{
    // Of a lost CUDA no work is under way any more.
    if (cuda_is_lost()) {
        return allocated_memory_free(allocation->address, allocation->place, allocation->origin);
    }
    lifecycle_lock_shared();
    message_clear();
    enum memory_status status = free_on_stream(allocation, stream);
    lifecycle_unlock();
    if (status != MEMORY_DEVICE_LOST) return status;
    // That CUDA is lost was found here.
    return allocated_memory_free_on_stream(allocation, stream);
}
