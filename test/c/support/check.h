// What every C test is made of: checks that end the program, random numbers that a seed repeats,
// and cases that are counted.
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>

// Ends the program with the place and the text unless the condition holds. abort() it is, so that
// a sanitizer or a fuzzer takes note of it.
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);               \
    } while (0)

__attribute__((noreturn, format(printf, 4, 5))) void
check_failed(const char *file, int line, const char *condition, const char *format, ...);

// Runs a case; a program that comes to its end has passed them all.
void check_case(const char *name, void (*run)(void));

// The last thing in main(): prints how many cases passed. Gives main's result.
int check_report(void);

// xorshift64*: the same numbers from the same seed on every machine.
struct random {
    uint64_t state;
};

// Each stream of a seed gives other numbers. CHECK_SEED in the environment sets the seed.
struct random random_stream(uint64_t stream);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound);

// As likely to be small as large: first the number of bits is chosen, then the bits. From 1 to max.
uint64_t random_log_uniform(struct random *random, uint64_t max);

#endif
