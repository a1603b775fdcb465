// This thread's last message, which memory_message() returns, and the figures that belong to it.
#ifndef MESSAGE_H
#define MESSAGE_H

#include "bun_cuda_memory.h"

void message_clear(void);

// Adds the text, on a line of its own. Where there is no room for all of it, a last line says so.
__attribute__((format(printf, 1, 2))) void message_add(const char *format, ...);

// Makes the text the whole message, and returns the status: for calls that end with it.
__attribute__((format(printf, 2, 3))) enum memory_status message_set(enum memory_status status,
                                                                     const char *format, ...);

// Says which CUDA error the message is about. The first one of a message stays.
void message_set_cuda_error(int error);

// Says why a request was not served by the kind of memory that it began with.
void message_set_cause(enum memory_cause cause);

// Says what a pool could not serve, and what it had. Sizes that nobody knows are NaN.
void message_set_byte_sizes(double requested, double free, double largest_free);

#endif
