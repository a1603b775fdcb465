// This thread's last message: what memory_message() returns.
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdint.h>

void message_clear(void);

// Adds the text, on a line of its own.
__attribute__((format(printf, 1, 2))) void message_add(const char *format, ...);

// Makes the text the whole message, and returns the status: for calls that end with it.
__attribute__((format(printf, 2, 3))) int32_t message_set(int32_t status, const char *format, ...);

#endif
