// Requests that wait until a pool has room.
//
// They stand in one queue, in the order in which they asked. Whoever frees something serves them, in
// whatever thread: from the first to the last, and where a request finds its pool full nobody behind it
// gets anything of that pool, and where its account has no room nobody behind it gets anything for that
// account. So a large request is not overtaken by small ones, nobody waits for what others wait for,
// and a pool that somebody waits for refuses all who do not.
//
// Memory that a stream still uses, or that a thread has left behind, is nobody's to free: those who wait
// look for it from time to time.
#ifndef WAITING_H
#define WAITING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "pool/pool.h"

// A request, from when it begins to wait until its thread has been told how it ended. It is on the heap,
// and it keeps its account.
struct waiter {
    struct waiter *previous, *next;
    double byte_size;
    double place;
    struct pool_client client;
    struct pool *pool;
    bool is_held_by_account; // counted in the account's waiting_count
    bool is_over;
    enum pool_status status; // where it is over
    struct pool_block block; // where that is POOL_OK
};

// How many requests wait.
extern _Atomic uint32_t waiting_total_count;

// Serves those who wait, as far as there is room. MEMORY_OK_SERVED where somebody was. The caller
// holds no lock of a pool.
enum memory_status waiting_serve(void);

// To be called when something was freed: the status of the call that did.
static inline enum memory_status waiting_after_free(enum memory_status status)
{
    bool has_freed = status >= MEMORY_OK;
    if (__builtin_expect(has_freed && waiting_total_count > 0, 0)) return waiting_serve();
    return status;
}

// Whether the request is for more than its account may ever have.
bool waiting_is_beyond_limit(const struct waiter *waiter);

// Has a request wait, which may be served at once, or is over already.
void waiting_add(struct waiter *waiter);

// Copies the request. Where it is over it is forgotten, and the result is true.
bool waiting_take(struct waiter *waiter, struct waiter *taken);

// Forgets the request. What it was served with, if it was, is the caller's to free; then others are to
// be served.
void waiting_give_up(struct waiter *waiter, struct waiter *taken);

// How many wait for memory of this place.
uint32_t waiting_count(double place);

// Forgets the requests of a thread that has ended.
void waiting_drop_owner(uint32_t owner);

#endif
