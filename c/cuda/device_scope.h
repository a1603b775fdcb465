// Working on a GPU for a while.
//
// The current device of a thread is the user's, and is the same before and after, whatever fails in
// between. Setting it would make a context on the device that is set, hundreds of megabytes of its
// memory, and setting it back makes one on the device that was current before, which is GPU 0 in a
// thread that has chosen none. So the device's context is pushed and popped instead, by the driver,
// which costs less too.
//
// In between, the thread's calls leave alone what the user captures into CUDA graphs, in whatever
// thread: by default some of them would make a capture useless.
#ifndef DEVICE_SCOPE_H
#define DEVICE_SCOPE_H

#include <stdbool.h>

#include "bun_cuda_memory.h"

struct device_scope {
    bool is_pushed;
    int device;
    int saved_device; // where nothing can be pushed
    int capture_mode; // as it was before
    // What entering or leaving has failed with first, and the function that returned it.
    int error;
    const char *function;
};

// A call that returns MEMORY_OK is followed by one of device_scope_leave(), which returns `status` or,
// where that is no failure, the failure to restore what was before.
enum memory_status device_scope_enter(struct device_scope *scope, int device);
enum memory_status device_scope_leave(struct device_scope *scope, enum memory_status status);

#endif
