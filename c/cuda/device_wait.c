#include "cuda/device_wait.h"

#include <pthread.h>
#include <stddef.h>

#include "cuda/cudart.h"
#include "cuda/lost.h"
#include "cuda/stream.h"

struct device_waits {
    uint64_t last_new;  // the last wait that was numbered
    uint64_t last_over; // up to this one all are over
    bool has_thread;
};

// Guards the numbers. No GPU is waited for under it.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct device_waits devices[DEVICE_COUNT_MAX];

uint64_t device_wait_new(int device)
{
    pthread_mutex_lock(&lock);
    uint64_t wait = ++devices[device].last_new;
    pthread_mutex_unlock(&lock);
    return wait;
}

static bool is_over(int device, uint64_t wait)
{
    return cuda_is_lost() || devices[device].last_over >= wait;
}

// Waits for the GPU. All waits that were numbered before are over then.
static bool wait_for(int device)
{
    pthread_mutex_lock(&lock);
    uint64_t last_before = devices[device].last_new;
    pthread_mutex_unlock(&lock);
    if (stream_synchronize_device(device) != MEMORY_OK && !cuda_is_lost()) return false;
    pthread_mutex_lock(&lock);
    if (devices[device].last_over < last_before) devices[device].last_over = last_before;
    pthread_mutex_unlock(&lock);
    return true;
}

static void *wait_for_all(void *argument)
{
    struct device_waits *waits = argument;
    int device = (int)(waits - devices);
    for (bool is_to_wait = true; is_to_wait;) {
        bool has_waited = wait_for(device);
        pthread_mutex_lock(&lock);
        is_to_wait = has_waited && !is_over(device, waits->last_new);
        waits->has_thread = is_to_wait;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void start_thread(struct device_waits *waits)
{
    pthread_t thread;
    waits->has_thread = pthread_create(&thread, NULL, wait_for_all, waits) == 0;
    if (waits->has_thread) pthread_detach(thread);
}

bool device_wait_is_over(int device, uint64_t wait)
{
    pthread_mutex_lock(&lock);
    bool result = is_over(device, wait);
    if (!result && !devices[device].has_thread) start_thread(&devices[device]);
    pthread_mutex_unlock(&lock);
    return result;
}

bool device_wait_finish(int device, uint64_t wait)
{
    pthread_mutex_lock(&lock);
    bool result = is_over(device, wait);
    pthread_mutex_unlock(&lock);
    return result || wait_for(device);
}
