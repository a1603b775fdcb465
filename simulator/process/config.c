#include "process/config.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudart_sim.h"
#include "faults/errors.h"
#include "faults/functions.h"
#include "process/delay.h"
#include "process/scan.h"
#include "process/visible_devices.h"

#define DEFAULT_DEVICES "9.0:17179869184"

// 64 TiB, which is half of what a process can address.
#define MEMORY_BYTE_SIZE_MAX (UINT64_C(1) << 46)
#define CAPABILITY_NUMBER_MAX 999

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct config config;
static bool is_well_formed;

static bool scan_device(const char **text, struct device_config *device)
{
    uint64_t major, minor, memory_byte_size;
    if (!scan_number(text, CAPABILITY_NUMBER_MAX, &major) || !scan_character(text, '.') ||
        !scan_number(text, CAPABILITY_NUMBER_MAX, &minor) || !scan_character(text, ':') ||
        !scan_number(text, MEMORY_BYTE_SIZE_MAX, &memory_byte_size) || memory_byte_size == 0) {
        return false;
    }
    *device = (struct device_config){(int)major, (int)minor, memory_byte_size};
    return true;
}

static bool parse_devices(const char *text)
{
    if (strcmp(text, "none") == 0) return true;
    do {
        if (config.device_count == DEVICE_COUNT_MAX ||
            !scan_device(&text, &config.devices[config.device_count])) {
            return false;
        }
        config.device_count++;
    } while (scan_character(&text, ','));
    return *text == '\0';
}

static bool scan_error(const char **text, cudaError_t *error)
{
    uint64_t number;
    if (scan_number(text, INT32_MAX, &number)) {
        *error = (cudaError_t)number;
        return error_is_known((int)number);
    }
    char name[SCAN_NAME_LENGTH_MAX + 1];
    return scan_name(text, name) && error_by_name(name, error);
}

// NULL when nothing of that name can be made to fail.
static struct fault_site *fault_site_by_name(const char *name)
{
    if (strcmp(name, "operation") == 0) return &async_transfers;
    struct function *function = function_by_name(name);
    return function == NULL ? NULL : &function->calls;
}

static bool scan_fault(const char **text)
{
    char name[SCAN_NAME_LENGTH_MAX + 1];
    uint64_t nth;
    cudaError_t error;
    if (!scan_name(text, name) || !scan_character(text, ':') ||
        !scan_number(text, INT64_MAX, &nth) || !scan_character(text, ':') ||
        !scan_error(text, &error)) {
        return false;
    }
    struct fault_site *site = fault_site_by_name(name);
    return site != NULL && nth != 0 && error != cudaSuccess && fault_add(site, nth, error);
}

static bool parse_faults(const char *text)
{
    if (*text == '\0') return true;
    do {
        if (!scan_fault(&text)) return false;
    } while (scan_character(&text, ','));
    return *text == '\0';
}

static bool parse_ns_per_byte(const char *text)
{
    struct delay delay = delay_get();
    return scan_decimal(&text, CUDART_SIM_DELAY_NS_MAX, &delay.ns_per_byte) && *text == '\0' &&
           delay_set(delay);
}

static bool parse_operation_ns(const char *text)
{
    struct delay delay = delay_get();
    return scan_decimal(&text, CUDART_SIM_DELAY_NS_MAX, &delay.operation_ns) && *text == '\0' &&
           delay_set(delay);
}

static const char *const variable_names[VARIABLE_COUNT] = {
    "CUDART_SIM_DEVICES", "CUDART_SIM_FAULTS", "CUDART_SIM_NS_PER_BYTE", "CUDART_SIM_OPERATION_NS"};

// Guards what is below, and makes setting a variable and reading all of them one step each.
static pthread_mutex_t variables_lock = PTHREAD_MUTEX_INITIALIZER;
// The values that were set, or NULL; once the variables were read, those that they had.
static char *variable_values[VARIABLE_COUNT];
static bool are_variables_read;

// The variable's number, or -1. A name that is NULL has none.
static int find_variable(const char *name)
{
    for (int i = 0; name != NULL && i < VARIABLE_COUNT; i++) {
        if (strcmp(variable_names[i], name) == 0) return i;
    }
    return -1;
}

// The caller holds the lock.
static enum variable_result set_variable(int variable, const char *value)
{
    char **place = &variable_values[variable];
    if (are_variables_read) {
        const char *known = *place == NULL ? "" : *place;
        return strcmp(known, value) == 0 ? VARIABLE_TAKEN : VARIABLE_TOO_LATE;
    }
    char *copy = strdup(value);
    if (copy == NULL) return VARIABLE_NO_MEMORY;
    free(*place);
    *place = copy;
    return VARIABLE_TAKEN;
}

enum variable_result config_set_variable(const char *name, const char *value)
{
    int variable = find_variable(name);
    if (variable < 0) return VARIABLE_UNKNOWN;
    pthread_mutex_lock(&variables_lock);
    enum variable_result result = set_variable(variable, value == NULL ? "" : value);
    pthread_mutex_unlock(&variables_lock);
    return result;
}

// Takes the environment's values of what was not set. The caller holds the lock.
static void keep_environment(void)
{
    for (int i = 0; i < VARIABLE_COUNT; i++) {
        const char *text = getenv(variable_names[i]);
        // Without memory for the copy, the value is the fallback.
        if (variable_values[i] == NULL && text != NULL) variable_values[i] = strdup(text);
    }
    are_variables_read = true;
}

static bool read_variable(const char *name, const char *fallback, bool (*parse)(const char *),
                          const char *expected)
{
    const char *text = variable_values[find_variable(name)];
    if (text == NULL || *text == '\0') text = fallback;
    if (parse(text)) return true;
    fprintf(stderr, "cudart_sim: %s=\"%s\" is malformed: expected %s\n", name, text, expected);
    return false;
}

// The number that a limit stands for, as text.
#define TEXT_OF(number) TEXT(number)
#define TEXT(text) #text

#define EXPECTED_DEVICES                                                                           \
    "\"none\" or up to " TEXT_OF(                                                                  \
        DEVICE_COUNT_MAX) " devices as <major>.<minor>:<memory in bytes>,"                         \
                          " such as \"8.0:1073741824,9.0:85899345920\""
#define EXPECTED_FAULTS                                                                            \
    "<function>:<nth call>:<error number or name>, or operation:..., of functions and errors that" \
    " the simulator has, such as \"cudaMalloc:2:cudaErrorMemoryAllocation,cudaFree:1:101\""
#define EXPECTED_DELAY                                                                             \
    "a decimal number of nanoseconds up to " TEXT_OF(CUDART_SIM_DELAY_NS_MAX) ", such as \"0.05\""

// Leaves the devices that CUDA_VISIBLE_DEVICES lets the process see.
static void hide_devices(void)
{
    static struct device_config all[DEVICE_COUNT_MAX];
    static int visible[DEVICE_COUNT_MAX];
    memcpy(all, config.devices, sizeof all);
    if (!visible_devices(getenv("CUDA_VISIBLE_DEVICES"), config.device_count, visible,
                         &config.device_count)) {
        config.start_error = cudaErrorInvalidDevice;
    }
    for (int device = 0; device < config.device_count; device++) {
        config.devices[device] = all[visible[device]];
    }
}

static void read_environment(void)
{
    pthread_mutex_lock(&variables_lock);
    keep_environment();
    pthread_mutex_unlock(&variables_lock);
    is_well_formed =
        read_variable("CUDART_SIM_DEVICES", DEFAULT_DEVICES, parse_devices, EXPECTED_DEVICES) &&
        read_variable("CUDART_SIM_FAULTS", "", parse_faults, EXPECTED_FAULTS) &&
        read_variable("CUDART_SIM_NS_PER_BYTE", "0", parse_ns_per_byte, EXPECTED_DELAY) &&
        read_variable("CUDART_SIM_OPERATION_NS", "0", parse_operation_ns, EXPECTED_DELAY);
    if (is_well_formed) hide_devices();
}

const struct config *config_get(void)
{
    pthread_once(&once, read_environment);
    return is_well_formed ? &config : NULL;
}

bool config_has_device(int device)
{
    const struct config *known = config_get();
    assert(known != NULL);
    return device >= 0 && device < known->device_count;
}
