#include "lifecycle.h"

#include <pthread.h>

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

void lifecycle_lock_exclusive(void)
{
    pthread_rwlock_wrlock(&lock);
}

void lifecycle_lock_shared(void)
{
    pthread_rwlock_rdlock(&lock);
}

void lifecycle_unlock(void)
{
    pthread_rwlock_unlock(&lock);
}
