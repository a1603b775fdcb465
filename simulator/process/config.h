// What the environment says about the simulated machine; cudart_sim.h describes the variables.
#ifndef CONFIG_H
#define CONFIG_H

#include <stddef.h>

#define MAX_DEVICE_COUNT 64

struct device_config {
    int compute_capability_major;
    int compute_capability_minor;
    size_t memory_bytes;
};

struct config {
    int device_count;
    struct device_config devices[MAX_DEVICE_COUNT];
};

// Reads the environment at the first call, and has the faults and the delay noted that it asks for.
// NULL when a variable is malformed, after saying so on stderr once.
const struct config *config_get(void);

#endif
