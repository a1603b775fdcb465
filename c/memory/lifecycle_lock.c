#include "memory/lifecycle_lock.h"

#include <pthread.h>

#ifdef __GLIBC__
static pthread_rwlock_t lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
#else
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER; // in musl, writers do not starve
#endif

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
