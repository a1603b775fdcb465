#include "process/config.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/errors.h"
#include "faults/functions.h"
#include "process/delay.h"

#define DEFAULT_DEVICES "9.0:17179869184"

// 64 TiB: half of what a process can address.
#define MAX_MEMORY_BYTES (UINT64_C(1) << 46)
#define MAX_CAPABILITY_NUMBER 999
#define MAX_NAME_LENGTH 63

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct config config;
static bool well_formed;

// The scan functions move *text past what they accept, and are false, with *text anywhere in the
// rejected part, when it is not there.

static bool scan_character(const char **text, char character)
{
    if (**text != character) return false;
    ++*text;
    return true;
}

static bool scan_number(const char **text, uint64_t max, uint64_t *number)
{
    if (**text < '0' || **text > '9') return false;
    *number = 0;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        uint64_t digit = (uint64_t)(**text - '0');
        if (*number > (max - digit) / 10) return false;
        *number = *number * 10 + digit;
    }
    return true;
}

// Digits, and if there is a point, digits behind it.
static bool scan_decimal(const char **text, uint64_t max, double *number)
{
    uint64_t whole;
    if (!scan_number(text, max, &whole)) return false;
    *number = (double)whole;
    if (!scan_character(text, '.')) return true;
    if (**text < '0' || **text > '9') return false;
    for (double weight = 0.1; **text >= '0' && **text <= '9'; ++*text, weight /= 10) {
        *number += weight * (**text - '0');
    }
    return true;
}

static bool scan_name(const char **text, char name[MAX_NAME_LENGTH + 1])
{
    size_t length = strcspn(*text, ":,");
    if (length > MAX_NAME_LENGTH) return false;
    memcpy(name, *text, length);
    name[length] = '\0';
    *text += length;
    return true;
}

static bool scan_device(const char **text, struct device_config *device)
{
    uint64_t major, minor, memory_bytes;
    if (!scan_number(text, MAX_CAPABILITY_NUMBER, &major) || !scan_character(text, '.') ||
        !scan_number(text, MAX_CAPABILITY_NUMBER, &minor) || !scan_character(text, ':') ||
        !scan_number(text, MAX_MEMORY_BYTES, &memory_bytes) || memory_bytes == 0) {
        return false;
    }
    *device = (struct device_config){(int)major, (int)minor, memory_bytes};
    return true;
}

static bool parse_devices(const char *text)
{
    if (strcmp(text, "none") == 0) return true;
    do {
        if (config.device_count == MAX_DEVICE_COUNT ||
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
    char name[MAX_NAME_LENGTH + 1];
    return scan_name(text, name) && error_by_name(name, error);
}

// NULL when there is none of that name.
static struct fault_site *fault_site_by_name(const char *name)
{
    if (strcmp(name, "operation") == 0) return &async_transfers;
    struct function *function = function_by_name(name);
    return function == NULL ? NULL : &function->calls;
}

static bool scan_fault(const char **text)
{
    char name[MAX_NAME_LENGTH + 1];
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
    return scan_decimal(&text, (uint64_t)MAX_DELAY_NS, &delay.ns_per_byte) && *text == '\0' &&
           delay_set(delay);
}

static bool parse_operation_ns(const char *text)
{
    struct delay delay = delay_get();
    return scan_decimal(&text, (uint64_t)MAX_DELAY_NS, &delay.operation_ns) && *text == '\0' &&
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

#define EXPECTED_DELAY "a decimal number of nanoseconds up to 1000000000, such as \"0.05\""

static void read_environment(void)
{
    well_formed = read_variable("CUDART_SIM_DEVICES", DEFAULT_DEVICES, parse_devices,
                                "\"none\" or up to 64 devices as <major>.<minor>:<memory in bytes>,"
                                " such as \"8.0:1073741824,9.0:85899345920\"") &&
                  read_variable("CUDART_SIM_FAULTS", "", parse_faults,
                                "<function>:<nth call>:<error number or name>, or operation:..., of"
                                " functions and errors that the simulator has, such as"
                                " \"cudaMalloc:2:cudaErrorMemoryAllocation,cudaFree:1:101\"") &&
                  read_variable("CUDART_SIM_NS_PER_BYTE", "0", parse_ns_per_byte, EXPECTED_DELAY) &&
                  read_variable("CUDART_SIM_OPERATION_NS", "0", parse_operation_ns, EXPECTED_DELAY);
}

const struct config *config_get(void)
{
    pthread_once(&once, read_environment);
    return well_formed ? &config : NULL;
}
