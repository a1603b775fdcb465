#include "pool/account.h"

#include <stddef.h>

struct account accounts[ACCOUNT_MAX + 1];

// ---- Terms

static uint64_t term_after(uint64_t charged)
{
    uint64_t term = account_term_of(charged) + 1;
    return term >> ACCOUNT_TERM_BITS == 0 ? term : 1;
}

void account_begin(uint32_t number)
{
    assert(number != ACCOUNT_NONE && number <= ACCOUNT_MAX);
    struct account *account = &accounts[number];
    assert(account_granules_of(account->charged) == 0 && account->waiting_count == 0);
    account->limit_granule_count = ACCOUNT_UNLIMITED;
    account->peak_granule_count = 0;
    // The end of a term begins the next; the first of all is 1.
    if (account_term_of(account->charged) == 0) {
        account->charged = UINT64_C(1) << ACCOUNT_GRANULE_COUNT_BITS;
    }
}

bool account_end(uint32_t number)
{
    struct account *account = &accounts[number];
    uint64_t charged = account->charged;
    if (account_granules_of(charged) != 0) return false;
    uint64_t ended = term_after(charged) << ACCOUNT_GRANULE_COUNT_BITS;
    return atomic_compare_exchange_strong(&account->charged, &charged, ended);
}

void account_raise_peak(struct account *account, uint64_t granule_count)
{
    uint64_t peak = account->peak_granule_count;
    while (granule_count > peak &&
           !atomic_compare_exchange_weak(&account->peak_granule_count, &peak, granule_count)) {}
}

// ---- Usage

bool account_usages_grow(struct account_usages *usages, uint32_t number)
{
    const size_t line_byte_size = sizeof(struct account_usage);
    struct metadata_array *array = &usages->array;
    if (array->base == NULL && !metadata_array_reserve(array, (ACCOUNT_MAX + 1) * line_byte_size)) {
        return false;
    }
    return metadata_array_grow(array, (number + 1) * line_byte_size);
}

static uint32_t line_count(const struct account_usages *usages)
{
    return (uint32_t)(usages->array.committed_byte_size / sizeof(struct account_usage));
}

void account_usages_credit_all(struct account_usages *usages)
{
    for (uint32_t number = 0; number < line_count(usages); number++) {
        struct account_usage *usage = account_usage_at(usages, number);
        if (usage->used_granule_count == 0) continue;
        account_credit(number, usage->used_granule_count);
        usage->used_granule_count = 0;
        usage->live_block_count = 0;
    }
}

void account_usage_read(const struct account_usages *usages, uint64_t key,
                        struct account_usage *usage)
{
    *usage = (struct account_usage){0};
    uint32_t number = account_of_key(key);
    if (number >= line_count(usages)) return;
    const struct account_usage *line = account_usage_at(usages, number);
    if (line->term == key >> ACCOUNT_NUMBER_BITS) *usage = *line;
}

void account_usage_note_refusal(struct account_usages *usages, uint64_t key, bool is_fallback)
{
    uint32_t number = account_of_key(key);
    if (key != account_key(number) || !account_usages_ensure(usages, number)) return;
    struct account_usage *usage = account_usage_of(usages, key);
    if (is_fallback) usage->fallback_count++;
    else usage->failure_count++;
}

void account_usage_reset_peak(struct account_usages *usages, uint64_t key)
{
    uint32_t number = account_of_key(key);
    if (number >= line_count(usages)) return;
    struct account_usage *line = account_usage_at(usages, number);
    if (line->term == key >> ACCOUNT_NUMBER_BITS) {
        line->peak_granule_count = line->used_granule_count;
    }
}
