#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *current_case = "before the first case";
static int passed_count;

static uint64_t seed(void)
{
    const char *text = getenv("CHECK_SEED");
    return text == NULL ? 1 : strtoull(text, NULL, 0);
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    fprintf(stderr, "%s:%d: in \"%s\", CHECK_SEED=%llu: ", file, line, current_case,
            (unsigned long long)seed());
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n    does not hold: %s\n", condition);
    abort();
}

void check_case(const char *name, void (*run)(void))
{
    current_case = name;
    run();
    passed_count++;
}

int check_report(void)
{
    printf("%d passed\n", passed_count);
    return 0;
}

struct random random_stream(uint64_t stream)
{
    struct random random = {(seed() * UINT64_C(0x9E3779B97F4A7C15) + stream) *
                            UINT64_C(0xD1342543DE82EF95)};
    if (random.state == 0) random.state = 1;          // the one state that xorshift never leaves
    for (int i = 0; i < 8; i++) random_next(&random); // so that neighbouring streams differ
    return random;
}

uint64_t random_next(struct random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(0x2545F4914F6CDD1D);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    return (random_next(random) >> 11) % bound;
}

uint64_t random_log_uniform(struct random *random, uint64_t max)
{
    uint64_t bit_count = 64 - (uint64_t)__builtin_clzll(max);
    uint64_t top_bit = UINT64_C(1) << random_below(random, bit_count);
    uint64_t number = top_bit + random_below(random, top_bit);
    return number > max ? max : number;
}
