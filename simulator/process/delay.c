#include "process/delay.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "cudart_sim.h"

#define NS_PER_S 1000000000

// Three years: longer than a process lives, and shorter than what overflows a clock.
#define OPERATION_NS_MAX 1e17

static pthread_mutex_t delay_lock = PTHREAD_MUTEX_INITIALIZER;
static struct delay current;

struct delay delay_get(void)
{
    pthread_mutex_lock(&delay_lock);
    struct delay delay = current;
    pthread_mutex_unlock(&delay_lock);
    return delay;
}

// False for NaN too.
static bool is_in_range(double ns)
{
    return ns >= 0 && ns <= CUDART_SIM_DELAY_NS_MAX;
}

bool delay_set(struct delay delay)
{
    if (!is_in_range(delay.ns_per_byte) || !is_in_range(delay.operation_ns)) return false;
    pthread_mutex_lock(&delay_lock);
    current = delay;
    pthread_mutex_unlock(&delay_lock);
    return true;
}

int64_t delay_of_operation(size_t byte_size)
{
    struct delay delay = delay_get();
    double ns = delay.operation_ns + delay.ns_per_byte * (double)byte_size;
    return (int64_t)(ns < OPERATION_NS_MAX ? ns : OPERATION_NS_MAX);
}

void delay_sleep(int64_t ns)
{
    assert(ns >= 0);
    if (ns == 0) return;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)(ns / NS_PER_S);
    end.tv_nsec += (long)(ns % NS_PER_S);
    if (end.tv_nsec >= NS_PER_S) {
        end.tv_sec++;
        end.tv_nsec -= NS_PER_S;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR) continue;
}
