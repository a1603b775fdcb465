// Whole numbers below 2^53 in the doubles that cross the boundary. By way of a signed type, whose
// conversions are one instruction each; an unsigned one's are several and a branch.
#ifndef WHOLE_NUMBER_H
#define WHOLE_NUMBER_H

#include <stdint.h>

static inline uint64_t whole_number(double number)
{
    return (uint64_t)(int64_t)number;
}

static inline double from_whole_number(uint64_t number)
{
    return (double)(int64_t)number;
}

#endif
