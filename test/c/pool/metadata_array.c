// The array under a pool's tables grows in place, keeps its bytes, and adds bytes that are 0.

#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "pool/metadata_array.h"

static const size_t RESERVED_BYTE_SIZE = (size_t)4 << 20;

static void expect_empty(const struct metadata_array *array)
{
    CHECK(array->base == NULL && array->reserved_byte_size == 0 && array->committed_byte_size == 0,
          "the array is empty");
}

static void an_array_grows_in_place(void)
{
    struct metadata_array array;
    CHECK(metadata_array_reserve(&array, RESERVED_BYTE_SIZE), "address space is there");
    const char *base = array.base;
    size_t written = 0;
    // The sizes never coincide with the end of a page or of a growth step.
    for (size_t byte_size = 1; byte_size <= RESERVED_BYTE_SIZE; byte_size += 4093) {
        CHECK(metadata_array_ensure(&array, byte_size), "%zu bytes are there", byte_size);
        CHECK(array.base == base, "the array moved");
        for (; written < byte_size; written++) {
            CHECK(array.base[written] == 0, "byte %zu is not zero at first", written);
            array.base[written] = (char)(written % 127 + 1);
        }
    }
    for (size_t i = 0; i < written; i++) {
        CHECK(array.base[i] == (char)(i % 127 + 1), "byte %zu changed while growing", i);
    }
    CHECK(metadata_array_ensure(&array, RESERVED_BYTE_SIZE), "all that was reserved can be had");
    array.base[RESERVED_BYTE_SIZE - 1] = 1;
    metadata_array_release(&array);
    expect_empty(&array);
}

static void committed_bytes_need_no_growth(void)
{
    struct metadata_array array;
    CHECK(metadata_array_reserve(&array, RESERVED_BYTE_SIZE), "address space is there");
    CHECK(array.committed_byte_size == 0, "nothing is usable at first");
    CHECK(metadata_array_grow(&array, 1), "one byte is there");
    size_t committed = array.committed_byte_size;
    CHECK(metadata_array_ensure(&array, committed), "what is there already is enough");
    CHECK(array.committed_byte_size == committed, "and nothing grows");
    CHECK(metadata_array_ensure(&array, committed + 1), "a byte more is there");
    CHECK(array.committed_byte_size > committed, "and lets it grow");
    metadata_array_release(&array);
}

static void an_array_does_not_grow_beyond_its_reservation(void)
{
    struct metadata_array array;
    CHECK(metadata_array_reserve(&array, RESERVED_BYTE_SIZE), "address space is there");
    CHECK(metadata_array_grow(&array, 100), "100 bytes are there");
    array.base[99] = 7;
    size_t committed = array.committed_byte_size;
    CHECK(!metadata_array_ensure(&array, array.reserved_byte_size + 1), "a byte too many");
    CHECK(!metadata_array_ensure(&array, SIZE_MAX / 2), "far too many");
    CHECK(array.committed_byte_size == committed && array.base[99] == 7,
          "a refusal changes nothing");
    CHECK(metadata_array_ensure(&array, RESERVED_BYTE_SIZE), "the rest can still be had");
    metadata_array_release(&array);
}

static void a_reservation_beyond_the_address_space_is_refused(void)
{
    struct metadata_array array;
    CHECK(!metadata_array_reserve(&array, (size_t)1 << 60), "no machine has 2^60 bytes");
    expect_empty(&array);
    metadata_array_release(&array); // An empty array may be released.
    expect_empty(&array);
}

static void a_released_array_starts_anew(void)
{
    struct metadata_array array = {0};
    for (int life = 0; life < 50; life++) {
        CHECK(metadata_array_reserve(&array, RESERVED_BYTE_SIZE), "address space is there");
        CHECK(metadata_array_grow(&array, RESERVED_BYTE_SIZE / 2), "and memory");
        for (size_t i = 0; i < RESERVED_BYTE_SIZE / 2; i += 1021) {
            CHECK(array.base[i] == 0, "byte %zu is left from an earlier life", i);
            array.base[i] = 1;
        }
        metadata_array_release(&array);
        expect_empty(&array);
    }
}

int main(void)
{
    check_case("an array grows in place", an_array_grows_in_place);
    check_case("committed bytes need no growth", committed_bytes_need_no_growth);
    check_case("an array does not grow beyond its reservation",
               an_array_does_not_grow_beyond_its_reservation);
    check_case("a reservation beyond the address space is refused",
               a_reservation_beyond_the_address_space_is_refused);
    check_case("a released array starts anew", a_released_array_starts_anew);
    return check_report();
}
