// Random numbers, and the sizes of the blocks that are measured.
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

// The generator known as xorshift64*. The state is any number but 0.
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static inline uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(((random_next(state) >> 32) * limit) >> 32);
}

// Draws a size that is log-uniform over the nine doublings from 512 B to 256 KiB, and uniform
// inside each of them.
static inline double random_byte_size(uint64_t *state)
{
    uint64_t octave = UINT64_C(512) << random_below(state, 9);
    return (double)(octave + random_next(state) % octave);
}

// The mean of these sizes. In each octave it is 1.5 times the octave's start.
#define RANDOM_BYTE_SIZE_MEAN (1.5 * 512 * 511 / 9)

#endif
