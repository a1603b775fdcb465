// Accounts: who memory is for, in whatever pool it lies, and how much of it he may have.
//
// An account is a number, which a live block has in its node; 0 stands for none. A number is given to
// another account once nobody uses it any more. So whoever asks for memory names an account by its
// key, which also has the number's term: with the key of an earlier account nothing is charged.
//
// Charging.  What an account has in all pools together is one word, which also has the term. One
//            compare-and-exchange charges a block if the key and the limit allow it, so that no
//            race passes a limit.
// Usage.     What an account has in one pool is a line of that pool's own table, under its lock.
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/inline.h"
#include "pool/metadata_array.h"

enum {
    ACCOUNT_NONE,
    ACCOUNT_MAX = 65535,
    ACCOUNT_NUMBER_BITS = 16,
    ACCOUNT_TERM_BITS = 20,
    ACCOUNT_GRANULE_COUNT_BITS = 44,
};

// No account can have as much.
#define ACCOUNT_UNLIMITED (UINT64_C(1) << ACCOUNT_GRANULE_COUNT_BITS)

enum account_status {
    ACCOUNT_OK,
    ACCOUNT_OVER_LIMIT,
    ACCOUNT_ENDED, // the key is not that of an account any more
};

struct account {
    // Granules in use; and above that the term.
    _Atomic uint64_t charged;
    _Atomic uint64_t limit_granule_count;
    _Atomic uint64_t peak_granule_count;
    _Atomic double limit_byte_size; // as it was set, while there is a limit
    // How many requests wait for the account to have room: all others of it are refused meanwhile.
    _Atomic uint64_t waiting_count;
};

// By number. All have limits from account_begin() on.
extern struct account accounts[ACCOUNT_MAX + 1];

// What an account has in one pool, in one of its terms.
struct account_usage {
    uint64_t term;
    uint64_t used_granule_count;
    uint64_t peak_granule_count;
    uint64_t live_block_count;
    uint64_t allocation_count; // since the term began
    uint64_t allocated_granule_count;
    uint64_t failure_count;
    uint64_t fallback_count;
};

// By number, as far as there are some. A zeroed table is empty.
struct account_usages {
    struct metadata_array array;
};

static inline uint32_t account_of_key(uint64_t key)
{
    return (uint32_t)key & ACCOUNT_MAX;
}

static inline uint64_t account_term_of(uint64_t charged)
{
    return charged >> ACCOUNT_GRANULE_COUNT_BITS;
}

static inline uint64_t account_granules_of(uint64_t charged)
{
    return charged & ((UINT64_C(1) << ACCOUNT_GRANULE_COUNT_BITS) - 1);
}

// The key of the number's present account.
static inline uint64_t account_key(uint32_t number)
{
    return account_term_of(accounts[number].charged) << ACCOUNT_NUMBER_BITS | number;
}

// Begins the term of an account, which has no limit.
void account_begin(uint32_t number);

// Ends the account's term. False, and nothing is changed, where memory is charged to it.
bool account_end(uint32_t number);

void account_raise_peak(struct account *account, uint64_t granule_count);

// Whether an account could be charged now. Whoever waits for it goes before others.
ALWAYS_INLINE enum account_status account_check(uint64_t key, uint64_t granule_count,
                                                bool has_waited)
{
    const struct account *account = &accounts[account_of_key(key)];
    uint64_t charged = atomic_load_explicit(&account->charged, memory_order_relaxed);
    if (account_term_of(charged) != key >> ACCOUNT_NUMBER_BITS) return ACCOUNT_ENDED;
    bool is_within_limit =
        account_granules_of(charged) + granule_count <= account->limit_granule_count;
    bool is_its_turn = account->waiting_count == 0 || has_waited;
    return is_within_limit && is_its_turn ? ACCOUNT_OK : ACCOUNT_OVER_LIMIT;
}

// Charges an account for what there is: a charge that was taken back would refuse others meanwhile.
ALWAYS_INLINE enum account_status account_charge(uint64_t key, uint64_t granule_count,
                                                 bool has_waited)
{
    struct account *account = &accounts[account_of_key(key)];
    uint64_t charged = atomic_load_explicit(&account->charged, memory_order_relaxed);
    uint64_t used;
    do {
        if (account_term_of(charged) != key >> ACCOUNT_NUMBER_BITS) return ACCOUNT_ENDED;
        used = account_granules_of(charged) + granule_count;
        if (used > account->limit_granule_count || (account->waiting_count > 0 && !has_waited)) {
            return ACCOUNT_OVER_LIMIT;
        }
    } while (!atomic_compare_exchange_weak(&account->charged, &charged, charged + granule_count));
    // The limit may have been lowered meanwhile, by somebody who did not see this charge.
    if (__builtin_expect(used > account->limit_granule_count, 0)) {
        account->charged -= granule_count;
        return ACCOUNT_OVER_LIMIT;
    }
    if (used > account->peak_granule_count) account_raise_peak(account, used);
    return ACCOUNT_OK;
}

// Takes a charge back.
ALWAYS_INLINE void account_credit(uint32_t number, uint64_t granule_count)
{
    uint64_t charged = atomic_fetch_sub(&accounts[number].charged, granule_count);
    assert(account_granules_of(charged) >= granule_count);
    (void)charged;
}

// Makes a line for the account in a table that has none yet. False where the system refuses memory.
bool account_usages_grow(struct account_usages *usages, uint32_t number);

// Makes sure that the table has a line for the account. False where the system refuses memory.
ALWAYS_INLINE bool account_usages_ensure(struct account_usages *usages, uint32_t number)
{
    size_t needed_byte_size = (number + 1) * sizeof(struct account_usage);
    return __builtin_expect(needed_byte_size <= usages->array.committed_byte_size, 1) ||
           account_usages_grow(usages, number);
}

// The account's line, which is there.
ALWAYS_INLINE struct account_usage *account_usage_at(const struct account_usages *usages,
                                                     uint32_t number)
{
    return (struct account_usage *)(void *)usages->array.base + number;
}

// The line of the key's term: what an earlier account of the number has left in it goes.
ALWAYS_INLINE struct account_usage *account_usage_of(const struct account_usages *usages,
                                                     uint64_t key)
{
    struct account_usage *usage = account_usage_at(usages, account_of_key(key));
    uint64_t term = key >> ACCOUNT_NUMBER_BITS;
    if (__builtin_expect(usage->term != term, 0)) *usage = (struct account_usage){.term = term};
    return usage;
}

// Enters a block that was charged, and one that was credited.
ALWAYS_INLINE void account_usage_add(struct account_usages *usages, uint64_t key,
                                     uint64_t granule_count)
{
    struct account_usage *usage = account_usage_of(usages, key);
    usage->used_granule_count += granule_count;
    if (usage->used_granule_count > usage->peak_granule_count) {
        usage->peak_granule_count = usage->used_granule_count;
    }
    usage->live_block_count++;
    usage->allocation_count++;
    usage->allocated_granule_count += granule_count;
}

ALWAYS_INLINE void account_usage_remove(struct account_usages *usages, uint32_t number,
                                        uint64_t granule_count)
{
    struct account_usage *usage = account_usage_at(usages, number);
    assert(usage->used_granule_count >= granule_count && usage->live_block_count > 0);
    usage->used_granule_count -= granule_count;
    usage->live_block_count--;
}

// Credits all accounts with what they have in a pool that is closed. What they had stays known.
void account_usages_credit_all(struct account_usages *usages);

// Takes note of a request of the account that failed, or that memory of another pool served. Nothing is
// noted of an account that has ended, or where the system refuses memory.
void account_usage_note_refusal(struct account_usages *usages, uint64_t key, bool is_fallback);

void account_usage_reset_peak(struct account_usages *usages, uint64_t key);

// Copies the line of the key's account, which is zeroes where there is none.
void account_usage_read(const struct account_usages *usages, uint64_t key,
                        struct account_usage *usage);

#endif
