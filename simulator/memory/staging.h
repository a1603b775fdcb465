// Staging memory, as CUDA calls it: what is queued as a copy from pageable host memory to a device
// is copied here first, so that the caller may change the memory before the device has read it.
// Every function may be called from any thread.
#ifndef STAGING_H
#define STAGING_H

#include <stddef.h>

// A copy of the bytes, or NULL when there is no room for it. All staging memory together is limited.
void *staging_copy(const void *bytes, size_t byte_size);

// Accepts NULL.
void staging_free(void *staged, size_t byte_size);

#endif
