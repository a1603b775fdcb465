// Copies between host memories, each of the fastest kind for where the bytes are needed next.
#ifndef BYTE_COPY_H
#define BYTE_COPY_H

#include <stddef.h>

// Copies into memory that is read next, by a GPU or by a program. The two may overlap.
void byte_copy_in(void *target, const void *source, size_t byte_size);

// Copies out of memory that is overwritten next, into memory that nobody reads for a while: it does
// not displace what is in the caches. The two may overlap.
void byte_copy_out(void *target, const void *source, size_t byte_size);

#endif
