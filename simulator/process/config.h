// What the environment says about the simulated machine; cudart_sim.h describes the variables.
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define DEVICE_COUNT_MAX 64

struct device_config {
    int compute_capability_major;
    int compute_capability_minor;
    size_t memory_byte_size;
};

struct config {
    int device_count;
    struct device_config devices[DEVICE_COUNT_MAX];
};

// Reads the environment at the first call, and sets the faults and the delay that it asks for. NULL
// when a variable is malformed, which the first call says on stderr.
const struct config *config_get(void);

// Whether the machine has a device of that number. The environment must not be malformed.
bool config_has_device(int device);

#endif
