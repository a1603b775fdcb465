// Reading the text of an environment variable, piece by piece. Each function moves *text past the
// piece that it accepts. Where that piece is not there, the function returns false, and leaves *text
// anywhere in what it has rejected.
#ifndef SCAN_H
#define SCAN_H

#include <stdbool.h>
#include <stdint.h>

bool scan_character(const char **text, char character);

// Accepts a decimal number from 0 to `max`.
bool scan_number(const char **text, uint64_t max, uint64_t *number);

// Accepts a decimal number whose whole part is from 0 to `max`. Where there is a point, there must
// be digits behind it.
bool scan_decimal(const char **text, uint64_t max, double *number);

#define SCAN_NAME_LENGTH_MAX 63

// Accepts what stands before the next ':' or ',', or the end.
bool scan_name(const char **text, char name[SCAN_NAME_LENGTH_MAX + 1]);

#endif
