#include "owner.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bun_cuda_memory.h"

// The numbers that are not in use lie on a stack, and those of ended threads in a queue, each linked by
// the entry of a number here.
static uint16_t next_of[OWNER_MAX + 1];

// Guards everything but the count of ended owners, which is read without it.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t spare_owner;    // 0 for none
static uint32_t last_new_owner; // numbers up to here have been in use
static uint32_t first_ended, last_ended;
static _Atomic uint32_t ended_count;

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool has_key;

void owner_end(uint32_t owner)
{
    pthread_mutex_lock(&lock);
    if (atomic_fetch_add_explicit(&ended_count, 1, memory_order_release) == 0) first_ended = owner;
    else next_of[last_ended] = (uint16_t)owner;
    last_ended = owner;
    pthread_mutex_unlock(&lock);
}

static void end(void *value)
{
    owner_end((uint32_t)(uintptr_t)value);
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, end) == 0;
}

static uint32_t take_number(void)
{
    pthread_mutex_lock(&lock);
    uint32_t owner = spare_owner;
    if (owner != 0) spare_owner = next_of[owner];
    else if (last_new_owner < OWNER_MAX) owner = ++last_new_owner;
    pthread_mutex_unlock(&lock);
    return owner;
}

uint32_t owner_of_thread(void)
{
    (void)pthread_once(&key_once, make_key);
    if (!has_key) return OWNER_PROCESS;
    uint32_t owner = (uint32_t)(uintptr_t)pthread_getspecific(key);
    if (owner != 0) return owner;
    owner = take_number();
    if (owner == 0) return OWNER_PROCESS;
    if (pthread_setspecific(key, (void *)(uintptr_t)owner) == 0) return owner;
    owner_release(owner);
    return OWNER_PROCESS;
}

uint32_t owner_ended_count(void)
{
    return atomic_load_explicit(&ended_count, memory_order_acquire);
}

bool owner_take_ended(uint32_t *owner)
{
    pthread_mutex_lock(&lock);
    bool is_there = owner_ended_count() != 0;
    if (is_there) {
        *owner = first_ended;
        first_ended = next_of[first_ended];
        atomic_fetch_sub_explicit(&ended_count, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
    return is_there;
}

void owner_release(uint32_t owner)
{
    assert(owner != OWNER_PROCESS && owner <= OWNER_MAX);
    pthread_mutex_lock(&lock);
    next_of[owner] = (uint16_t)spare_owner;
    spare_owner = owner;
    pthread_mutex_unlock(&lock);
}

int32_t memory_owner(void)
{
    return (int32_t)owner_of_thread();
}
