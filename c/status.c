#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTE_SIZE_MAX = 1024 };

static _Thread_local char message[MESSAGE_BYTE_SIZE_MAX];

int32_t report(int32_t status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status;
}

void report_more(const char *format, ...)
{
    size_t length = strlen(message);
    if (length > 0 && length + 1 < sizeof message) message[length++] = '\n';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message + length, sizeof message - length, format, arguments);
    va_end(arguments);
}

void report_clear(void)
{
    message[0] = '\0';
}

const char *memory_message(void)
{
    return message;
}
