// How many bytes of the system heap non-pinned memory may take: what lives, and what was freed while
// somebody still held it or a stream still used it. There is no limit until one is set.
#ifndef NONPINNED_LIMIT_H
#define NONPINNED_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

// Why a request was refused.
struct nonpinned_refusal {
    uint64_t limit_byte_size;
    uint64_t taken_byte_size; // at that moment
};

// INFINITY is no limit. One below what is taken refuses until enough is given back.
void nonpinned_limit_set(double byte_size);

// Takes bytes before they are allocated. False where they are over the limit, whoever takes others at
// the same time.
bool nonpinned_limit_take(uint64_t byte_size);
void nonpinned_limit_give_back(uint64_t byte_size);

// Whether this thread's last request was over the limit.
bool nonpinned_limit_has_refused(struct nonpinned_refusal *refusal);

#endif
