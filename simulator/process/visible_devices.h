// CUDA_VISIBLE_DEVICES: which of a machine's devices a process sees, and in which order.
#ifndef VISIBLE_DEVICES_H
#define VISIBLE_DEVICES_H

#include <stdbool.h>

// Gives the numbers of the visible devices of `count`, and how many there are. The text is the
// variable's, or NULL where it is not set. False where a device is named twice, which CUDA answers
// with cudaErrorInvalidDevice.
bool visible_devices(const char *text, int count, int *devices, int *visible_count);

#endif
