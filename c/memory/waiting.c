#include "memory/waiting.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "cuda/cudart.h"
#include "memory/accounts.h"
#include "memory/place.h"
#include "memory/pools.h"
#include "whole_number.h"

_Atomic uint32_t waiting_total_count;

// Guards all that follows, and is taken before the locks of accounts and pools.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct waiter *first, *last; // those who wait, and those who have not been told yet
static uint64_t pass;               // the number of the last walk over them
// The last pass in which there was no room for somebody.
static uint64_t account_passes[ACCOUNT_MAX + 1];
static struct {
    uint64_t pass;
    uint32_t waiting_count;
    bool is_awaited;
} pool_states[DEVICE_COUNT_MAX + 1]; // the last is the pinned pool's

static uint32_t awaited_pool_count;
static uint32_t full_pool_count; // of these, in the present pass
static uint32_t held_by_account_count;

// ---- The queue, under the lock

static size_t pool_index(double place)
{
    return memory_type_of_place(place) == MEMORY_GPU ? (size_t)device_id_of_place(place)
                                                     : DEVICE_COUNT_MAX;
}

static void append(struct waiter *waiter)
{
    waiter->previous = last;
    waiter->next = NULL;
    if (last == NULL) first = waiter;
    else last->next = waiter;
    last = waiter;
}

static void remove_from_queue(struct waiter *waiter)
{
    if (waiter->previous == NULL) first = waiter->next;
    else waiter->previous->next = waiter->next;
    if (waiter->next == NULL) last = waiter->previous;
    else waiter->next->previous = waiter->previous;
}

static void hold_by_account(struct waiter *waiter, bool is_held)
{
    if (waiter->is_held_by_account == is_held) return;
    waiter->is_held_by_account = is_held;
    struct account *account = &accounts[account_of_key(waiter->client.account_key)];
    if (is_held) account->waiting_count++;
    else account->waiting_count--;
    held_by_account_count += is_held ? 1 : -1;
}

static void begin_waiting(struct waiter *waiter)
{
    if (pool_states[pool_index(waiter->place)].waiting_count++ == 0) awaited_pool_count++;
    waiting_total_count++;
}

static void stop_waiting(struct waiter *waiter, enum pool_status status)
{
    waiter->is_over = true;
    waiter->status = status;
    hold_by_account(waiter, false);
    size_t index = pool_index(waiter->place);
    if (--pool_states[index].waiting_count == 0) {
        awaited_pool_count--;
        if (pool_states[index].pass == pass) full_pool_count--;
    }
    waiting_total_count--;
}

bool waiting_is_beyond_limit(const struct waiter *waiter)
{
    if (waiter->client.account_key == 0) return false;
    uint64_t granule_count =
        (whole_number(waiter->byte_size) + POOL_GRANULE_BYTE_SIZE - 1) / POOL_GRANULE_BYTE_SIZE;
    return granule_count > accounts[account_of_key(waiter->client.account_key)].limit_granule_count;
}

// ---- Serving

static void try_to_serve(struct waiter *waiter)
{
    enum pool_status status = pool_alloc_for(waiter->pool, whole_number(waiter->byte_size),
                                             &waiter->client, &waiter->block, NULL);
    switch (status) {
    case POOL_FULL:
    case POOL_OUT_OF_METADATA:
        hold_by_account(waiter, false);
        pool_states[pool_index(waiter->place)].pass = pass;
        full_pool_count++;
        break;
    case POOL_OVER_LIMIT:
        if (waiting_is_beyond_limit(waiter)) {
            stop_waiting(waiter, status); // the limit was lowered meanwhile
            break;
        }
        hold_by_account(waiter, true);
        account_passes[account_of_key(waiter->client.account_key)] = pass;
        break;
    default:
        stop_waiting(waiter, status);
        break;
    }
}

static bool is_behind_others_of_account(const struct waiter *waiter)
{
    return waiter->client.account_key != 0 &&
           account_passes[account_of_key(waiter->client.account_key)] == pass;
}

// Keeps what is free in a pool for those who wait for it.
static void set_awaited(void)
{
    for (size_t i = 0; i <= DEVICE_COUNT_MAX; i++) {
        bool is_awaited = pool_states[i].waiting_count > 0 && pool_states[i].pass == pass;
        if (!pool_states[i].is_awaited && !is_awaited) continue;
        pool_states[i].is_awaited = is_awaited;
        // Again where it is so already: the pool may have been opened anew meanwhile.
        pool_set_awaited(i == DEVICE_COUNT_MAX ? &pinned_pool()->pool : &gpu_pool((double)i)->pool,
                         is_awaited);
    }
}

// Whether all pools that somebody waits for have been found full in this pass.
static bool all_pools_are_full(void)
{
    return full_pool_count == awaited_pool_count;
}

// Returns whether a request is over.
static bool serve_locked(void)
{
    bool has_served = false;
    pass++;
    full_pool_count = 0;
    for (struct waiter *waiter = first; waiter != NULL; waiter = waiter->next) {
        if (waiter->is_over) continue;
        // Nobody from here on is served, and nobody is held by an account who would not be any more.
        if (held_by_account_count == 0 && all_pools_are_full()) break;
        if (pool_states[pool_index(waiter->place)].pass == pass) {
            hold_by_account(waiter, false);
        } else if (is_behind_others_of_account(waiter)) {
            hold_by_account(waiter, true);
        } else {
            try_to_serve(waiter);
            has_served |= waiter->is_over;
        }
    }
    set_awaited();
    return has_served;
}

enum memory_status waiting_serve(void)
{
    pthread_mutex_lock(&lock);
    bool has_served = serve_locked();
    pthread_mutex_unlock(&lock);
    return has_served ? MEMORY_OK_SERVED : MEMORY_OK;
}

uint32_t waiting_count(double place)
{
    pthread_mutex_lock(&lock);
    uint32_t count = pool_states[pool_index(place)].waiting_count;
    pthread_mutex_unlock(&lock);
    return count;
}

// ---- For requests

void waiting_add(struct waiter *waiter)
{
    pthread_mutex_lock(&lock);
    append(waiter);
    if (!waiter->is_over) {
        begin_waiting(waiter);
        (void)serve_locked();
    }
    pthread_mutex_unlock(&lock);
}

static void forget(struct waiter *waiter)
{
    remove_from_queue(waiter);
    if (waiter->client.account_key != 0) accounts_release(waiter->client.account_key);
    free(waiter);
}

bool waiting_take(struct waiter *waiter, struct waiter *taken)
{
    pthread_mutex_lock(&lock);
    *taken = *waiter;
    if (taken->is_over) forget(waiter);
    pthread_mutex_unlock(&lock);
    return taken->is_over;
}

void waiting_give_up(struct waiter *waiter, struct waiter *taken)
{
    pthread_mutex_lock(&lock);
    *taken = *waiter;
    if (!waiter->is_over) stop_waiting(waiter, POOL_FULL);
    forget(waiter);
    pthread_mutex_unlock(&lock);
}

// What was granted already is freed with all else that the thread had.
void waiting_drop_owner(uint32_t owner)
{
    pthread_mutex_lock(&lock);
    for (struct waiter *waiter = first, *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        if (waiter->client.owner != owner) continue;
        if (!waiter->is_over) stop_waiting(waiter, POOL_FULL);
        forget(waiter);
    }
    (void)serve_locked();
    pthread_mutex_unlock(&lock);
}
