// Copies of ordinary host memory that a device is to read later. Every function may be called from
// any thread.
#ifndef STAGING_H
#define STAGING_H

#include <stddef.h>

// A copy of the bytes, or NULL when there is no room for it: all staged bytes together are bounded.
void *staging_take(const void *bytes, size_t size);

// Accepts NULL.
void staging_release(void *staged, size_t size);

#endif
