// As an H100's driver 580 was measured to take the variable. A list holds numbers, or UUIDs, of which
// the beginning is enough; the first entry says which. What is no device of the machine ends the list.
#include "process/visible_devices.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UUID_PREFIX "GPU-"
#define UUID_LENGTH 40

// The device's UUID as text: the same in every process, and another from its first digits on.
static void write_uuid(int device, char uuid[UUID_LENGTH + 1])
{
    snprintf(uuid, UUID_LENGTH + 1, UUID_PREFIX "%08x-0000-4000-8000-%012x",
             UINT32_C(0x51000000) + (unsigned int)device, (unsigned int)device);
}

// The number at the start of the entry, or -1. What follows it is not looked at.
static int parse_number(const char *entry)
{
    char *end;
    long number = strtol(entry, &end, 10);
    return end == entry || number < 0 || number > INT_MAX ? -1 : (int)number;
}

// The only device whose UUID begins as the entry, or -1.
static int find_uuid(const char *entry, size_t length, int count)
{
    int found = -1;
    if (length > UUID_LENGTH) length = UUID_LENGTH;
    for (int device = 0; device < count; device++) {
        char uuid[UUID_LENGTH + 1];
        write_uuid(device, uuid);
        if (strncasecmp(entry, uuid, length) != 0) continue;
        if (found >= 0) return -1;
        found = device;
    }
    return found;
}

static bool is_uuid(const char *entry)
{
    return strncmp(entry, UUID_PREFIX, strlen(UUID_PREFIX)) == 0;
}

static bool is_among(int device, const int *devices, int count)
{
    for (int i = 0; i < count; i++) {
        if (devices[i] == device) return true;
    }
    return false;
}

bool visible_devices(const char *text, int count, int *devices, int *visible_count)
{
    *visible_count = 0;
    if (text == NULL) {
        for (int device = 0; device < count; device++) devices[device] = device;
        *visible_count = count;
        return true;
    }
    bool has_uuids = is_uuid(text);
    for (const char *entry = text;; entry++) {
        size_t length = strcspn(entry, ",");
        int device = -1;
        if (is_uuid(entry) == has_uuids) {
            device = has_uuids ? find_uuid(entry, length, count) : parse_number(entry);
        }
        if (device < 0 || device >= count) return true;
        if (is_among(device, devices, *visible_count)) {
            *visible_count = 0;
            return false;
        }
        devices[(*visible_count)++] = device;
        entry += length;
        if (*entry == '\0') return true;
    }
}
