// How long copies and memsets take, beyond what moving the bytes takes. Every function may be
// called from any thread.
#ifndef DELAY_H
#define DELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Each number is from 0 to CUDART_SIM_DELAY_NS_MAX.
struct delay {
    double ns_per_byte;
    double operation_ns; // of each operation, whatever its size
};

// Both numbers are 0 until they are set.
struct delay delay_get(void);

// Sets the delay of the operations that are queued from now on. False when a number is out of its
// range.
bool delay_set(struct delay delay);

// How many nanoseconds an operation on that many bytes takes.
int64_t delay_of_operation(size_t byte_size);

void delay_sleep(int64_t ns);

#endif
