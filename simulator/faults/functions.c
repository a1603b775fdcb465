#include "faults/functions.h"

#include <stddef.h>
#include <string.h>

static struct function *functions;

void function_register(struct function *function)
{
    function->next = functions;
    functions = function;
}

struct function *function_by_name(const char *name)
{
    if (name == NULL) return NULL;
    struct function *function = functions;
    while (function != NULL && strcmp(function->name, name) != 0) function = function->next;
    return function;
}
