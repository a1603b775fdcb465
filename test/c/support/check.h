// What every C test is made of: checks that end the program, random numbers that a seed repeats,
// and cases that are counted.
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>

// Ends the program with the place and the text unless the condition holds. It calls abort(), which
// sanitizers and fuzzers report.
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);               \
    } while (0)

__attribute__((noreturn, format(printf, 4, 5))) void
check_failed(const char *file, int line, const char *condition, const char *format, ...);

// Runs a case. A failed check ends the program, so one that comes to its end has passed them all.
void check_case(const char *name, void (*run)(void));

// Prints how many cases passed, and returns what main() returns. It is called last in main().
int check_report(void);

// The generator xorshift64*, which gives the same numbers from the same seed on every machine.
struct random {
    uint64_t state;
};

// The streams of one seed give different numbers. CHECK_SEED in the environment sets the seed.
struct random random_stream(uint64_t stream);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound);

// A number from 1 to max, as likely to be small as large: first the number of its bits is chosen,
// then the bits.
uint64_t random_log_uniform(struct random *random, uint64_t max);

#endif
