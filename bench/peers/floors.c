// Allocators that allocate nothing: they show what a pair of calls costs by itself, and with a
// lock.
#include <stdatomic.h>
#include <stdint.h>

double empty_alloc(double byte_size, double pool)
{
    (void)pool;
    return byte_size;
}

int32_t empty_free(double address, double pool)
{
    (void)address;
    (void)pool;
    return 0;
}

static atomic_uint lock;

static void acquire_and_release(void)
{
    while (atomic_exchange_explicit(&lock, 1, memory_order_acquire) != 0) {}
    atomic_store_explicit(&lock, 0, memory_order_release);
}

double locked_alloc(double byte_size, double pool)
{
    acquire_and_release();
    return empty_alloc(byte_size, pool);
}

int32_t locked_free(double address, double pool)
{
    acquire_and_release();
    return empty_free(address, pool);
}
