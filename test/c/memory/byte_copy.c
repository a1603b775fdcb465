// Copies of sizes around the limits, at random alignments, made by one thread and by several.
#include "memory/byte_copy.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "threads.h"

enum {
    LARGE = 256 * 1024,
    BYTE_SIZE_MAX = 1024 * 1024 + 512,
    GUARD = 128,
    THREAD_COUNT = 4,
};

typedef void (*copy_function)(void *target, const void *source, size_t byte_size);

static void fill(unsigned char *bytes, size_t byte_size, struct random *random)
{
    for (size_t i = 0; i < byte_size; i++) bytes[i] = (unsigned char)random_next(random);
}

static void check_copy(copy_function copy, unsigned char *area, const unsigned char *source,
                       size_t offset, size_t byte_size)
{
    memset(area, 0xA5, BYTE_SIZE_MAX + 2 * GUARD);
    unsigned char *target = area + GUARD + offset;
    copy(target, source, byte_size);
    CHECK(memcmp(target, source, byte_size) == 0, "%zu bytes at offset %zu", byte_size, offset);
    for (size_t i = 1; i <= GUARD; i++) {
        CHECK(target[-(ptrdiff_t)i] == 0xA5, "wrote before its target");
        CHECK(target[byte_size + i - 1] == 0xA5, "wrote behind its target");
    }
}

static void copy_at_random(struct random *random)
{
    unsigned char *source = malloc(BYTE_SIZE_MAX);
    unsigned char *area = malloc(BYTE_SIZE_MAX + 2 * GUARD + 64);
    CHECK(source != NULL && area != NULL, "out of memory");
    fill(source, BYTE_SIZE_MAX, random);
    static const size_t sizes[] = {0, 1, 63, 64, LARGE - 1, LARGE, LARGE + 1, 1024 * 1024 - 3};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t target_offset = random_below(random, 64);
        size_t source_offset = random_below(random, 64);
        check_copy(byte_copy_in, area, source + source_offset, target_offset, sizes[i]);
        check_copy(byte_copy_out, area, source + source_offset, target_offset, sizes[i]);
    }
    free(area);
    free(source);
}

static void copies_every_byte_and_no_other(void)
{
    for (uint64_t i = 0; i < 8; i++) {
        struct random random = random_stream(i);
        copy_at_random(&random);
    }
}

static void check_overlap(copy_function copy, size_t from, size_t to)
{
    struct random random = random_stream(1);
    unsigned char *bytes = malloc(2 * LARGE);
    unsigned char *expected = malloc(LARGE);
    CHECK(bytes != NULL && expected != NULL, "out of memory");
    fill(bytes, 2 * LARGE, &random);
    memcpy(expected, bytes + from, LARGE);
    copy(bytes + to, bytes + from, LARGE);
    CHECK(memcmp(bytes + to, expected, LARGE) == 0, "from %zu to %zu", from, to);
    free(expected);
    free(bytes);
}

static void ranges_may_overlap(void)
{
    check_overlap(byte_copy_in, 0, 100);
    check_overlap(byte_copy_in, 100, 0);
    check_overlap(byte_copy_out, 0, 100);
    check_overlap(byte_copy_out, 100, 0);
    check_overlap(byte_copy_out, 0, 0);
}

static void copy_in_thread(int number)
{
    struct random random = random_stream(100 + (uint64_t)number);
    for (int i = 0; i < 4; i++) copy_at_random(&random);
}

static void threads_copy_at_the_same_time(void)
{
    threads_run(THREAD_COUNT, copy_in_thread);
}

int main(void)
{
    check_case("copies every byte and no other", copies_every_byte_and_no_other);
    check_case("ranges may overlap", ranges_may_overlap);
    check_case("threads copy at the same time", threads_copy_at_the_same_time);
    return check_report();
}
