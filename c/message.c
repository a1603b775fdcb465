#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTE_SIZE_MAX = 1024 };

static _Thread_local char message[MESSAGE_BYTE_SIZE_MAX];

void message_clear(void)
{
    message[0] = '\0';
}

static void append(const char *format, va_list arguments)
{
    size_t length = strlen(message);
    if (length > 0 && length + 1 < sizeof message) message[length++] = '\n';
    vsnprintf(message + length, sizeof message - length, format, arguments);
}

void message_add(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    append(format, arguments);
    va_end(arguments);
}

enum memory_status message_set(enum memory_status status, const char *format, ...)
{
    message_clear();
    va_list arguments;
    va_start(arguments, format);
    append(format, arguments);
    va_end(arguments);
    return status;
}

const char *memory_message(void)
{
    return message;
}
