// Counts what is asked of the system heap and of the kernel's memory: this program's malloc, mmap
// and so on come before libc's for every library that it loads.
#ifndef HEAP_CALLS_H
#define HEAP_CALLS_H

#include <stdint.h>

// Returns the number of calls since the program started.
uint64_t heap_call_count(void);

#endif
