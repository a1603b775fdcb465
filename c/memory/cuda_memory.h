// What the other files of this folder need of the CUDA memory manager.
#ifndef CUDA_MEMORY_H
#define CUDA_MEMORY_H

#include "pool/pool.h"

// The pool of a device, open or closed. An id that no device can have gets a pool that never opens.
struct pool *cuda_memory_pool(double device_id);

// Says in words why a GPU's pool is closed.
const char *cuda_memory_why_closed(void);

#endif
