#include "process/library_pin.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void pin(void)
{
    Dl_info info;
    if (dladdr(&once, &info) != 0) {
        (void)dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

void library_pin(void)
{
    pthread_once(&once, pin);
}
