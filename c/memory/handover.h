// Memory on its way from one thread to another: detached by its owner, and attached by nobody yet.
//
// It belongs to the process meanwhile, so the end of the thread that detached it does not free it. A
// number that was never given before, in this process or another, stands for it.
#ifndef HANDOVER_H
#define HANDOVER_H

#include <stdint.h>

#include "bun_cuda_memory.h"

// Bytes that are detached: of a GPU, or of host memory of a kind.
uint64_t handover_byte_size(enum memory_type memory_type, int device);

#endif
