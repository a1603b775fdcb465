// What the other files of this folder need of the CUDA memory manager.
#ifndef CUDA_MEMORY_H
#define CUDA_MEMORY_H

// Says in words why a GPU's pool is closed.
const char *cuda_memory_why_closed(void);

#endif
