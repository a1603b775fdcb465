// Binds a CUDA runtime to the pool library by the names of the functions, as TypeScript does it.
#ifndef BIND_CUDART_H
#define BIND_CUDART_H

#include <dlfcn.h>
#include <stddef.h>

#include "cuda/cudart.h"

// Hands each function that the library calls to `bind`, which is the library's cudart_bind().
// Returns null, or the name of the first function that `runtime`, a handle of dlopen() or
// RTLD_DEFAULT, does not have.
static inline const char *bind_cudart(void *runtime, void (*bind)(const char *, void *))
{
#define CUDART_NAME(result, name, parameters) #name,
    static const char *const names[] = {CUDART_FUNCTIONS(CUDART_NAME)};
#undef CUDART_NAME
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *address = dlsym(runtime, names[i]);
        if (address == NULL) return names[i];
        bind(names[i], address);
    }
    return NULL;
}

#endif
