#include "memory/collected_memory.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "bun_cuda_memory.h"
#include "memory/allocation.h"
#include "owner.h"

struct record {
    struct memory_allocation allocation;
    struct record *next; // on the list of what was collected
    uint32_t owner;
    bool is_watched;
};

enum { NANOSECONDS_PER_SECOND = 1000 * 1000 * 1000 };

// The shortest and the longest time between two times that a collector is asked.
static const int64_t pause_min_ns = NANOSECONDS_PER_SECOND;
static const int64_t pause_max_ns = INT64_C(64) * NANOSECONDS_PER_SECOND;

// What an owner has. Only its own thread reads and writes it, but for the list.
static struct owner_state {
    _Atomic(struct record *) collected;
    uint64_t watched_count;
    int64_t pause_ns;     // 0 for the shortest
    int64_t next_time_ns; // when the collector may be asked again
} states[OWNER_MAX + 1];

double collected_memory_watch(double record_address, double address, double byte_size, double place,
                              double origin)
{
    struct record *record = (struct record *)(uintptr_t)record_address;
    if (record == NULL) record = malloc(sizeof *record);
    if (record == NULL) return 0;
    *record = (struct record){.allocation = {.address = address,
                                             .byte_size = byte_size,
                                             .place = place,
                                             .origin = origin},
                              .owner = owner_of_origin(origin),
                              .is_watched = true};
    states[record->owner].watched_count++;
    return (double)(uintptr_t)record;
}

void collected_memory_unwatch(double address)
{
    struct record *record = (struct record *)(uintptr_t)address;
    record->is_watched = false;
    states[record->owner].watched_count--;
}

void collected_memory_note(void *bytes, void *context)
{
    (void)bytes;
    struct record *record = context;
    if (!record->is_watched) {
        free(record);
        return;
    }
    _Atomic(struct record *) *list = &states[record->owner].collected;
    record->next = atomic_load_explicit(list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(list, &record->next, record, memory_order_release,
                                                  memory_order_relaxed)) {}
}

static struct record *take(struct owner_state *state)
{
    _Atomic(struct record *) *list = &state->collected;
    struct record *record = atomic_load_explicit(list, memory_order_acquire);
    // Only the owner's thread takes, so the first record stays first until it is taken or one is put
    // before it.
    while (record != NULL &&
           !atomic_compare_exchange_weak_explicit(list, &record, record->next, memory_order_acquire,
                                                  memory_order_acquire)) {}
    return record;
}

enum memory_status collected_memory_take(int32_t owner, struct memory_allocation *allocation)
{
    struct owner_state *state = &states[(uint32_t)owner];
    struct record *record = take(state);
    if (record == NULL) return MEMORY_NOT_DONE;
    *allocation = record->allocation;
    state->watched_count--;
    free(record);
    return MEMORY_OK;
}

// ---- Asking the collector

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NANOSECONDS_PER_SECOND + now.tv_nsec;
}

bool collected_memory_may_help(uint32_t owner)
{
    const struct owner_state *state = &states[owner];
    return owner != OWNER_PROCESS && state->watched_count > 0 && now_ns() >= state->next_time_ns;
}

void collected_memory_asked(int32_t owner, int32_t has_found)
{
    struct owner_state *state = &states[(uint32_t)owner];
    int64_t longer_ns = state->pause_ns == 0 ? pause_min_ns : 2 * state->pause_ns;
    state->pause_ns = has_found ? pause_min_ns : longer_ns;
    if (state->pause_ns > pause_max_ns) state->pause_ns = pause_max_ns;
    state->next_time_ns = now_ns() + state->pause_ns;
}

void collected_memory_drop_owner(uint32_t owner)
{
    struct owner_state *state = &states[owner];
    struct record *record = atomic_exchange_explicit(&state->collected, NULL, memory_order_acquire);
    while (record != NULL) {
        struct record *next = record->next;
        free(record);
        record = next;
    }
    state->watched_count = 0;
    state->pause_ns = 0;
    state->next_time_ns = 0;
}
