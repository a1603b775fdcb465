// How long copies and memsets take, beyond what moving the bytes takes. Every function may be
// called from any thread.
#ifndef DELAY_H
#define DELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The most of each: a second.
#define MAX_DELAY_NS 1e9

struct delay {
    double ns_per_byte;
    // For each operation, whatever its size.
    double operation_ns;
};

// None at first.
struct delay delay_get(void);

// For the operations that are queued from now on. False when a number is not from 0 to
// MAX_DELAY_NS.
bool delay_set(struct delay delay);

// How long an operation on that many bytes takes.
int64_t delay_of(size_t byte_size);

// Sleeps so long.
void delay_pass(int64_t ns);

#endif
