// The functions of the CUDA API that return a cudaError_t: their calls are counted and can be made
// to fail. A function registers itself, in the file that defines it; see api/entry_point.h.
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include "faults/faults.h"

enum function_trait {
    // Works without a device.
    ANYWHERE,
    // Returns cudaErrorNoDevice on a machine without devices.
    NEEDS_DEVICE,
    // Of the driver: returns CUDA_ERROR_NOT_INITIALIZED until cuInit, or a function of the runtime that
    // needs a device, was called.
    NEEDS_INITIALIZATION,
    // Needs a device that works, and no context: it returns the sticky error that has ended all work of
    // the process, if there is one, and cudaErrorNotPermitted when a host function calls it.
    NEEDS_WORKING_DEVICE,
    // The same, and works on the thread's current device, whose context is made where there is none.
    WORKS_ON_DEVICE,
    // The same, and is potentially unsafe while a stream is being captured: see streams/capture.h.
    UNSAFE_IN_CAPTURE,
    // Returns the thread's last error as its result, which is therefore not a new last error.
    REPORTS_LAST_ERROR,
};

struct function {
    const char *name;
    enum function_trait trait;
    struct fault_site calls;
    struct function *next; // of the registered ones
};

// Adds a function to those that can be found. Called only while the library is loaded, when no
// other thread can call it.
void function_register(struct function *function);

// NULL when no function of that name is registered, or the name is null.
struct function *function_by_name(const char *name);

#endif
