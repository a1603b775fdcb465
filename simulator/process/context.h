// The devices' primary contexts, and the one that is current in a thread. A device has no context
// until something needs it. Every function may be called from any thread.
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdbool.h>

#include "cuda_abi.h"

// Whether the device's context is active. The device must exist.
bool context_is_active(int device);

// Makes the device's context, if there is none yet, for the runtime, which keeps it for good.
void context_ensure(int device);

// The same for the calling thread's current device, and makes it the thread's current context.
void context_ensure_current(void);

// Makes the device current in the thread, with its context, as cudaSetDevice does.
void context_set_device(int device);

// The driver's references to a context: it is active while there is one, or the runtime has it.
CUcontext context_retain(int device);
// False where the driver has no reference.
bool context_release(int device);

// The thread's current context, or NULL.
CUcontext context_current(void);

// Makes the context current, over what was. It must be that of a device.
CUresult context_push(CUcontext context);

// Takes away the current context, and makes current again what was.
CUresult context_pop(CUcontext *context);

#endif
