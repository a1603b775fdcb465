// Working on a GPU for a while.
//
// The current device of a thread is the user's, and is the same before and after. Setting it would
// make a context on the device that is set, hundreds of megabytes of its memory, and setting it back
// makes one on the device that was current before, which is GPU 0 in a thread that has chosen none. So
// the device's context is pushed and popped instead, by the driver, which costs less too.
#ifndef DEVICE_SCOPE_H
#define DEVICE_SCOPE_H

#include <stdbool.h>

#include "bun_cuda_memory.h"

struct device_scope {
    bool is_pushed;
    int device;
    int saved_device; // where nothing can be pushed
};

// A call that returns MEMORY_OK is followed by one of device_scope_leave(), which returns `status` or,
// where that is MEMORY_OK, the status of restoring what was before.
enum memory_status device_scope_enter(struct device_scope *scope, int device);
enum memory_status device_scope_leave(const struct device_scope *scope, enum memory_status status);

// Whether any of the first so many devices has a context, as far as that can be known without making
// one.
bool device_scope_any_context(int device_count);

#endif
