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

static bool read_variable(const char *name, const char *fallback, bool (*parse)(const char *),
                          const char *expected)
{
    const char *text = getenv(name);
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

static void read_environment(void)
{
    is_well_formed =
        read_variable("CUDART_SIM_DEVICES", DEFAULT_DEVICES, parse_devices, EXPECTED_DEVICES) &&
        read_variable("CUDART_SIM_FAULTS", "", parse_faults, EXPECTED_FAULTS) &&
        read_variable("CUDART_SIM_NS_PER_BYTE", "0", parse_ns_per_byte, EXPECTED_DELAY) &&
        read_variable("CUDART_SIM_OPERATION_NS", "0", parse_operation_ns, EXPECTED_DELAY);
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
