// What the environment says about the simulated machine; cudart_sim.h describes the variables.
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "cudart_abi.h"

#define DEVICE_COUNT_MAX 512

struct device_config {
    int compute_capability_major;
    int compute_capability_minor;
    size_t memory_byte_size;
};

struct config {
    // The devices that the process sees.
    int device_count;
    struct device_config devices[DEVICE_COUNT_MAX];
    // Why CUDA does not start, or cudaSuccess.
    cudaError_t start_error;
};

// The environment variables, in the order of their names in config.c.
enum { VARIABLE_COUNT = 4 };

enum variable_result {
    VARIABLE_TAKEN,
    VARIABLE_UNKNOWN,
    // The environment was read before, and had another value.
    VARIABLE_TOO_LATE,
    VARIABLE_NO_MEMORY,
};

// Sets a variable before the environment's. NULL stands for "".
enum variable_result config_set_variable(const char *name, const char *value);

// Reads the environment at the first call, and sets the faults and the delay that it asks for. NULL
// when a variable is malformed, which the first call says on stderr.
const struct config *config_get(void);

// Whether the machine has a device of that number. The environment must not be malformed.
bool config_has_device(int device);

#endif
