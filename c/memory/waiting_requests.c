// Requests that wait, as their threads see them.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "bun_cuda_memory.h"
#include "cuda/stream.h"
#include "memory/account_figures.h"
#include "memory/accounts.h"
#include "memory/allocation.h"
#include "memory/collected_memory.h"
#include "memory/cuda_memory.h"
#include "memory/ended_owners.h"
#include "memory/freed_blocks.h"
#include "memory/pools.h"
#include "memory/refusal.h"
#include "memory/stream_ordered.h"
#include "memory/waiting.h"
#include "message.h"
#include "whole_number.h"

static enum memory_status refuse(const struct waiter *waiter, enum pool_status status)
{
    struct refusal refusal = {.status = status};
    bool is_on_gpu = memory_type_of_place(waiter->place) == MEMORY_GPU;
    refusal.why_closed = is_on_gpu ? cuda_memory_why_closed() : "there is no pinned memory pool";
    (void)pool_read_stats(waiter->pool, &refusal.full);
    const struct refused_request request = {.byte_size = waiter->byte_size,
                                            .device_id = (double)device_id_of_place(waiter->place),
                                            .account_key = waiter->client.account_key,
                                            .cuda = is_on_gpu ? &refusal : NULL,
                                            .pinned = is_on_gpu ? NULL : &refusal};
    accounts_note_refusal(waiter->place, waiter->client.account_key, false);
    return refusal_report_failure(&request);
}

// How a request is refused that could not be served if all were free; POOL_OK where it may wait.
static enum pool_status why_in_vain(const struct waiter *waiter)
{
    enum pool_status status =
        pool_check_request(waiter->pool, whole_number(waiter->byte_size), &waiter->client);
    return status == POOL_OK && waiting_is_beyond_limit(waiter) ? POOL_OVER_LIMIT : status;
}

// Serves the request with what its stream, or another, still uses. Nobody who waits is overtaken.
static void try_with_stream(struct waiter *waiter, const struct cuda_stream *stream)
{
    struct pool_client client = waiter->client;
    client.has_waited = false;
    waiter->status = stream_ordered_alloc(waiter->pool, whole_number(waiter->byte_size), &client,
                                          stream, &waiter->block, NULL);
    waiter->is_over = waiter->status == POOL_OK;
}

double memory_wait_begin(const struct memory_allocation *allocation, double byte_size, double place,
                         double account_key, const struct cuda_stream *stream)
{
    message_clear();
    enum memory_status stream_status = stream == NULL ? MEMORY_OK : stream_check(stream);
    if (stream_status == MEMORY_UNSUPPORTED) return stream_status;
    uint64_t key = whole_number(account_key);
    bool is_on_gpu = memory_type_of_place(place) == MEMORY_GPU;
    double device_id = (double)device_id_of_place(place);
    struct waiter wanted = {
        .byte_size = byte_size,
        .place = place,
        .client = {.owner = (uint32_t)allocation->owner, .has_waited = true, .account_key = key},
        .pool = is_on_gpu ? &gpu_pool(device_id)->pool : &pinned_pool()->pool,
    };
    if (key != 0 && !accounts_keep(key)) return MEMORY_ACCOUNT_ENDED;
    enum pool_status in_vain = why_in_vain(&wanted);
    struct waiter *waiter = in_vain == POOL_OK ? malloc(sizeof *waiter) : NULL;
    if (waiter == NULL) {
        enum memory_status status =
            refuse(&wanted, in_vain == POOL_OK ? POOL_OUT_OF_METADATA : in_vain);
        if (key != 0) accounts_release(key);
        return status;
    }
    *waiter = wanted;
    ended_owners_clean_up();
    stream_ordered_reclaim();
    if (stream != NULL && stream_status == MEMORY_OK && is_on_gpu) try_with_stream(waiter, stream);
    waiting_add(waiter);
    return (double)(uintptr_t)waiter;
}

enum memory_status memory_wait_take(double wait, struct memory_allocation *allocation)
{
    struct waiter ended;
    if (!waiting_take((struct waiter *)(uintptr_t)wait, &ended)) return MEMORY_NOT_DONE;
    message_clear();
    if (ended.status == POOL_ACCOUNT_ENDED) return MEMORY_ACCOUNT_ENDED;
    if (ended.status != POOL_OK) return refuse(&ended, ended.status);
    allocation_fill(allocation, ended.block, ended.byte_size, ended.place, ended.client.owner);
    return MEMORY_OK;
}

enum memory_status memory_wait_end(double wait)
{
    struct waiter ended;
    waiting_give_up((struct waiter *)(uintptr_t)wait, &ended);
    if (ended.is_over && ended.status == POOL_OK) {
        (void)stream_ordered_free_now(ended.pool, ended.block.address, ended.block.generation,
                                      ended.client.owner);
    }
    // Those behind may have waited for nothing but this request.
    return waiting_serve();
}

enum memory_status memory_wait_poll(int32_t owner)
{
    ended_owners_clean_up();
    stream_ordered_reclaim();
    enum memory_status status = waiting_serve();
    if (status != MEMORY_OK) return status;
    if (collected_memory_may_help((uint32_t)owner)) return MEMORY_COLLECT_FIRST;
    return freed_block_count() > 0 ? MEMORY_NOT_DONE : MEMORY_OK;
}
