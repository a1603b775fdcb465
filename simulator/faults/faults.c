#include "faults/faults.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct fault {
    const struct fault_site *site;
    // Counted from 1 since the process started.
    uint64_t number;
    cudaError_t error;
};

struct fault_site async_transfers;

static pthread_mutex_t faults_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fault *faults;
static size_t fault_capacity;
// The count is changed only under the lock. It is also read without the lock, so that calls take no
// lock while there are no faults.
static _Atomic size_t fault_count;

// The caller holds the lock.
static struct fault *find_fault(const struct fault_site *site, uint64_t number)
{
    for (size_t i = 0; i < fault_count; i++) {
        if (faults[i].site == site && faults[i].number == number) return &faults[i];
    }
    return NULL;
}

static cudaError_t remove_fault(const struct fault_site *site, uint64_t number)
{
    cudaError_t error = cudaSuccess;
    pthread_mutex_lock(&faults_lock);
    struct fault *fault = find_fault(site, number);
    if (fault != NULL) {
        error = fault->error;
        *fault = faults[fault_count - 1];
        fault_count--;
    }
    pthread_mutex_unlock(&faults_lock);
    return error;
}

cudaError_t fault_site_hit(struct fault_site *site)
{
    uint64_t number = ++site->hit_count;
    return fault_count == 0 ? cudaSuccess : remove_fault(site, number);
}

// A new entry at the end, or NULL when there is no memory. The caller holds the lock.
static struct fault *append_fault(void)
{
    if (fault_count == fault_capacity) {
        size_t capacity = fault_capacity == 0 ? 16 : 2 * fault_capacity;
        struct fault *grown = realloc(faults, capacity * sizeof *faults);
        if (grown == NULL) return NULL;
        faults = grown;
        fault_capacity = capacity;
    }
    return &faults[fault_count++];
}

bool fault_add(struct fault_site *site, uint64_t nth, cudaError_t error)
{
    assert(nth != 0 && error != cudaSuccess);
    pthread_mutex_lock(&faults_lock);
    uint64_t number = site->hit_count + nth;
    struct fault *fault = find_fault(site, number);
    if (fault == NULL) fault = append_fault();
    if (fault != NULL) *fault = (struct fault){site, number, error};
    pthread_mutex_unlock(&faults_lock);
    return fault != NULL;
}

void faults_clear(void)
{
    pthread_mutex_lock(&faults_lock);
    fault_count = 0;
    pthread_mutex_unlock(&faults_lock);
}
