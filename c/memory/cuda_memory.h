// What the CUDA memory manager offers its neighbours in this library.
#ifndef CUDA_MEMORY_H
#define CUDA_MEMORY_H

#include "pool/pool.h"

// The pool of a device, open or closed; for an id that no device can have, one that never opens.
struct pool *cuda_memory_pool(double device_id);

// Why a GPU's pool is closed, in words.
const char *cuda_memory_why_closed(void);

#endif
