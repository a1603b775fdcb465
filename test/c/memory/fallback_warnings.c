// Each kind of fallback is warned of once for each GPU, cause and account, by whatever thread.
#include "memory/fallback_warnings.h"

#include <stdatomic.h>

#include "check.h"
#include "threads.h"

enum { ACCOUNT_COUNT = 4, LAST_CAUSE = MEMORY_CAUSE_OVER_LIMIT };

static const uint32_t accounts[ACCOUNT_COUNT] = {0, 1, 255, FALLBACK_ACCOUNT_MAX};

// Asks for everything that can be warned of, and returns how often the answer was yes.
static int warning_count(void)
{
    int count = 0;
    for (int kind = 0; kind < FALLBACK_KIND_COUNT; kind++) {
        for (int device = 0; device <= FALLBACK_NO_GPU; device++) {
            for (int cause = 1; cause <= LAST_CAUSE; cause++) {
                for (int i = 0; i < ACCOUNT_COUNT; i++) {
                    count += fallback_warn_once((enum fallback_kind)kind, device,
                                                (enum memory_cause)cause, accounts[i]);
                }
            }
        }
    }
    return count;
}

static atomic_int warning_count_of_all;

static void warn_of_all(int number)
{
    (void)number;
    warning_count_of_all += warning_count();
}

static void threads_warn_once_of_each(void)
{
    threads_run(threads_beyond_processors(), warn_of_all);
    int expected = FALLBACK_KIND_COUNT * (FALLBACK_NO_GPU + 1) * LAST_CAUSE * ACCOUNT_COUNT;
    CHECK(warning_count_of_all == expected, "%d warnings, not %d", warning_count_of_all, expected);
    CHECK(warning_count() == 0, "nothing is warned of again");
}

static void ids_that_no_gpu_has_are_one(void)
{
    const uint32_t account = 7;
    CHECK(fallback_warn_once(FALLBACK_FROM_CUDA, FALLBACK_NO_GPU, MEMORY_CAUSE_NO_POOL, account),
          "the first");
    CHECK(!fallback_warn_once(FALLBACK_FROM_CUDA, 0x1p50, MEMORY_CAUSE_NO_POOL, account),
          "another");
    CHECK(fallback_warn_once(FALLBACK_FROM_CUDA, 0, MEMORY_CAUSE_NO_POOL, account), "a GPU");
    fallback_forget_account(account);
    CHECK(fallback_warn_once(FALLBACK_FROM_CUDA, 0, MEMORY_CAUSE_NO_POOL, account), "another's");
}

int main(void)
{
    check_case("threads warn once of each", threads_warn_once_of_each);
    check_case("ids that no GPU has are one", ids_that_no_gpu_has_are_one);
    return check_report();
}
