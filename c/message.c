#include "message.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTE_SIZE_MAX = 16 * 1024, LINE_BYTE_SIZE_MAX = 4096 };

static const char no_room[] = "there is more to say than there is room for";

static const struct memory_failure no_failure = {0, NAN, NAN, NAN, MEMORY_CAUSE_NONE};

static _Thread_local char message[MESSAGE_BYTE_SIZE_MAX];
static _Thread_local size_t message_length;
static _Thread_local struct memory_failure failure = {0, NAN, NAN, NAN, MEMORY_CAUSE_NONE};

void message_clear(void)
{
    message[0] = '\0';
    message_length = 0;
    failure = no_failure;
}

static void append_line(const char *line, size_t length)
{
    if (message_length > 0) message[message_length++] = '\n';
    memcpy(message + message_length, line, length + 1);
    message_length += length;
}

// A line is there as a whole or not at all. The room for the last one is always kept.
static void append(const char *format, va_list arguments)
{
    char line[LINE_BYTE_SIZE_MAX];
    int printed = vsnprintf(line, sizeof line, format, arguments);
    size_t length = printed < 0 ? 0 : strlen(line);
    size_t room = sizeof message - message_length;
    if (room > length + 1 + sizeof no_room + 1) append_line(line, length);
    else if (room > sizeof no_room + 1) append_line(no_room, sizeof no_room - 1);
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

void message_set_cuda_error(int error)
{
    if (failure.cuda_error == 0) failure.cuda_error = error;
}

void message_set_cause(enum memory_cause cause)
{
    failure.cause = cause;
}

void message_set_byte_sizes(double requested, double free, double largest_free)
{
    failure.requested_byte_size = requested;
    failure.free_byte_size = free;
    failure.largest_free_byte_size = largest_free;
}

const char *memory_message(void)
{
    return message;
}

void memory_last_failure(struct memory_failure *copy)
{
    *copy = failure;
}
