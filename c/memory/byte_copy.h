// Copies of the host's bytes, as fast as the way that they go allows.
#ifndef BYTE_COPY_H
#define BYTE_COPY_H

#include <stddef.h>

// Into memory that is read next, by a GPU or by a program. The two may overlap.
void byte_copy_in(void *target, const void *source, size_t byte_size);

// Out of memory that is about to be overwritten, to where nobody looks for a while. The two may
// overlap.
void byte_copy_out(void *target, const void *source, size_t byte_size);

#endif
