#include "process/scan.h"

#include <string.h>

static bool has_digit(const char *text)
{
    return *text >= '0' && *text <= '9';
}

bool scan_character(const char **text, char character)
{
    if (**text != character) return false;
    ++*text;
    return true;
}

bool scan_number(const char **text, uint64_t max, uint64_t *number)
{
    if (!has_digit(*text)) return false;
    *number = 0;
    for (; has_digit(*text); ++*text) {
        uint64_t digit = (uint64_t)(**text - '0');
        if (*number > (max - digit) / 10) return false;
        *number = *number * 10 + digit;
    }
    return true;
}

bool scan_decimal(const char **text, uint64_t max, double *number)
{
    uint64_t whole;
    if (!scan_number(text, max, &whole)) return false;
    *number = (double)whole;
    if (!scan_character(text, '.')) return true;
    if (!has_digit(*text)) return false;
    for (double weight = 0.1; has_digit(*text); ++*text, weight /= 10) {
        *number += weight * (**text - '0');
    }
    return true;
}

bool scan_name(const char **text, char name[SCAN_NAME_LENGTH_MAX + 1])
{
    size_t length = strcspn(*text, ":,");
    if (length > SCAN_NAME_LENGTH_MAX) return false;
    memcpy(name, *text, length);
    name[length] = '\0';
    *text += length;
    return true;
}
