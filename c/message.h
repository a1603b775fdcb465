// This thread's last message, which memory_message() returns.
#ifndef MESSAGE_H
#define MESSAGE_H

#include "bun_cuda_memory.h"

void message_clear(void);

// Adds the text, on a line of its own. A text that does not fit is cut.
__attribute__((format(printf, 1, 2))) void message_add(const char *format, ...);

// Makes the text the whole message, and returns the status: for calls that end with it.
__attribute__((format(printf, 2, 3))) enum memory_status message_set(enum memory_status status,
                                                                     const char *format, ...);

#endif
