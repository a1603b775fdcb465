#include "faults/functions.h"

#include <string.h>

static const struct {
    const char *name;
    enum function_trait trait;
} functions[FUNCTION_COUNT] = {
#define ROW(name, trait) [FUNCTION_##name] = {#name, trait},
    CUDART_FUNCTIONS(ROW)
#undef ROW
};

enum function function_by_name(const char *name)
{
    for (int function = 0; name != NULL && function < FUNCTION_COUNT; function++) {
        if (strcmp(name, functions[function].name) == 0) return function;
    }
    return FUNCTION_COUNT;
}

enum function_trait function_trait(enum function function)
{
    return functions[function].trait;
}
