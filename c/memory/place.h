// Where memory lies, in one number: its kind, and four times the GPU's ordinal.
#ifndef MEMORY_PLACE_H
#define MEMORY_PLACE_H

#include <stdint.h>

static inline double place_of(double memory_type, double device_id)
{
    return memory_type + 4 * device_id;
}

static inline int32_t memory_type_of_place(double place)
{
    return (int64_t)place & 3;
}

static inline int64_t device_id_of_place(double place)
{
    return (int64_t)place >> 2;
}

#endif
