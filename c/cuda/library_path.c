// Where the dynamic loader finds a library, so that bun:ffi can be given an absolute path: a bare
// name would also be looked for in the current directory.

#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdio.h>

#include "bun_cuda_memory.h"

const char *library_path(const char *soname)
{
    static _Thread_local char path[4096];
    void *library = dlopen(soname, RTLD_LAZY | RTLD_LOCAL);
    if (library == NULL) return NULL;
    struct link_map *map;
    int result = dlinfo(library, RTLD_DI_LINKMAP, &map);
    if (result == 0) snprintf(path, sizeof path, "%s", map->l_name);
    // A library that somebody else had loaded stays loaded.
    dlclose(library);
    return result == 0 ? path : NULL;
}
