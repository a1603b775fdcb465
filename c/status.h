// What a call came to, and this thread's last message about it.
#ifndef STATUS_H
#define STATUS_H

#include <stdint.h>

#include "bun_cuda_memory.h"

// Puts the text where memory_message() finds it and returns the status.
__attribute__((format(printf, 2, 3))) int32_t report(int32_t status, const char *format, ...);

// Adds the text as a line of its own. Calls in which several things can go wrong clear the message
// first and then collect.
__attribute__((format(printf, 1, 2))) void report_more(const char *format, ...);
void report_clear(void);

#endif
