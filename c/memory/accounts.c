#include "memory/accounts.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bun_cuda_memory.h"
#include "memory/fallback_warnings.h"
#include "message.h"
#include "whole_number.h"

struct named_account {
    uint32_t number;
    uint32_t reference_count;
    struct named_account *next_spare; // while its number is nobody's
    char *name;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *tree; // the C library's balanced tree; the names are the keys
static struct named_account *by_number[ACCOUNT_MAX + 1];
// Spares are used again in the order in which they became some, and only where there are many: a key
// that a thread has kept is then of a term that is long over, but not so long that terms repeat.
static struct named_account *first_spare, *last_spare;
static uint32_t spare_count;
static uint32_t last_new_number; // numbers up to here have an entry

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named_account *)a)->name, ((const struct named_account *)b)->name);
}

// ---- Spare numbers, under the lock

enum { SPARE_COUNT_MIN = 1024 };

static void add_spare(struct named_account *spare)
{
    spare->next_spare = NULL;
    if (first_spare == NULL) first_spare = spare;
    else last_spare->next_spare = spare;
    last_spare = spare;
    spare_count++;
}

static struct named_account *take_first_spare(void)
{
    struct named_account *spare = first_spare;
    first_spare = spare->next_spare;
    spare_count--;
    return spare;
}

// ---- Forgetting, under the lock

// Whether nothing keeps the account but memory.
static bool is_unused(const struct named_account *named)
{
    const struct account *account = &accounts[named->number];
    return named->reference_count == 0 && account->waiting_count == 0 &&
           account->limit_granule_count == ACCOUNT_UNLIMITED;
}

// False where the account lives on.
static bool try_to_forget(struct named_account *named)
{
    if (!is_unused(named) || !account_end(named->number)) return false;
    tdelete(named, &tree, compare_names);
    free(named->name);
    named->name = NULL;
    add_spare(named);
    return true;
}

static void forget_unused(void)
{
    for (uint32_t number = 1; number <= last_new_number; number++) {
        if (by_number[number]->name != NULL) (void)try_to_forget(by_number[number]);
    }
}

// ---- Opening, under the lock

static struct named_account *find(const char *name)
{
    const struct named_account wanted = {.name = (char *)(uintptr_t)name};
    void *node = tfind(&wanted, &tree, compare_names);
    return node == NULL ? NULL : *(struct named_account **)node;
}

// An entry without a name. Null where all numbers are in use, or the system refuses memory.
static struct named_account *take_spare(void)
{
    if (first_spare == NULL && last_new_number == ACCOUNT_MAX) forget_unused();
    bool is_new = last_new_number < ACCOUNT_MAX && spare_count < SPARE_COUNT_MIN;
    if (!is_new) return first_spare == NULL ? NULL : take_first_spare();
    struct named_account *spare = calloc(1, sizeof *spare);
    if (spare == NULL) return NULL;
    spare->number = ++last_new_number;
    by_number[spare->number] = spare;
    return spare;
}

static void give_spare(struct named_account *spare)
{
    free(spare->name);
    spare->name = NULL;
    add_spare(spare);
}

static struct named_account *make(const char *name)
{
    struct named_account *made = take_spare();
    if (made == NULL) return NULL;
    made->name = strdup(name);
    if (made->name == NULL || tsearch(made, &tree, compare_names) == NULL) {
        give_spare(made);
        return NULL;
    }
    made->reference_count = 0;
    fallback_forget_account(made->number);
    account_begin(made->number);
    return made;
}

// Finds the account, or makes it. Null where there can be no more.
static struct named_account *open_named(const char *name)
{
    struct named_account *found = find(name);
    // What an unused account still says of its past is not this one's.
    if (found != NULL && !try_to_forget(found)) return found;
    return make(name);
}

double account_open(const char *name)
{
    pthread_mutex_lock(&lock);
    struct named_account *named = open_named(name);
    bool is_full = named == NULL && first_spare == NULL && last_new_number == ACCOUNT_MAX;
    double key = named == NULL ? 0 : from_whole_number(account_key(named->number));
    pthread_mutex_unlock(&lock);
    if (key != 0) return key;
    if (is_full) {
        return message_set(MEMORY_UNAVAILABLE,
                           "failed to open the account \"%s\": there are %d accounts already, "
                           "which are as many as there can be",
                           name, ACCOUNT_MAX);
    }
    return message_set(MEMORY_OUT_OF_MEMORY,
                       "failed to open the account \"%s\": the system refuses "
                       "memory",
                       name);
}

double account_list(double *keys, double count_max)
{
    uint64_t count = 0;
    pthread_mutex_lock(&lock);
    forget_unused();
    for (uint32_t number = 1; number <= last_new_number; number++) {
        if (by_number[number]->name == NULL) continue;
        if (count < whole_number(count_max)) keys[count] = from_whole_number(account_key(number));
        count++;
    }
    pthread_mutex_unlock(&lock);
    return from_whole_number(count);
}

// ---- References and names

// The account's entry, under the lock; null where it was forgotten.
static struct named_account *named_of(uint64_t key)
{
    struct named_account *named = by_number[account_of_key(key)];
    return named != NULL && named->name != NULL && account_key(named->number) == key ? named : NULL;
}

bool accounts_keep(uint64_t key)
{
    pthread_mutex_lock(&lock);
    struct named_account *named = named_of(key);
    if (named != NULL) named->reference_count++;
    pthread_mutex_unlock(&lock);
    return named != NULL;
}

void accounts_release(uint64_t key)
{
    pthread_mutex_lock(&lock);
    struct named_account *named = named_of(key);
    assert(named != NULL && named->reference_count > 0);
    named->reference_count--;
    pthread_mutex_unlock(&lock);
}

// What an ArrayBuffer is of that keeps an account. A thread may be terminated before there is one: then
// the record refers to nothing.
struct account_reference {
    uint64_t key; // 0 for none
};

double account_reference_make(void)
{
    return (double)(uintptr_t)calloc(1, sizeof(struct account_reference));
}

double account_reference_begin(double reference, double key)
{
    if (!accounts_keep(whole_number(key))) return 0;
    ((struct account_reference *)(uintptr_t)reference)->key = whole_number(key);
    return key;
}

void account_reference_end(void *bytes, void *reference)
{
    (void)bytes;
    struct account_reference *ended = reference;
    if (ended->key != 0) accounts_release(ended->key);
    free(ended);
}

void accounts_copy_name(uint64_t key, char name[ACCOUNT_NAME_BYTE_SIZE_MAX])
{
    pthread_mutex_lock(&lock);
    const struct named_account *named = named_of(key);
    snprintf(name, ACCOUNT_NAME_BYTE_SIZE_MAX, "%s", named == NULL ? "" : named->name);
    pthread_mutex_unlock(&lock);
}

double account_copy_name(double key, char *name, double byte_size_max)
{
    pthread_mutex_lock(&lock);
    const struct named_account *named = named_of(whole_number(key));
    size_t byte_size = named == NULL ? 0 : strlen(named->name);
    if (byte_size <= byte_size_max && byte_size > 0) memcpy(name, named->name, byte_size);
    pthread_mutex_unlock(&lock);
    return (double)byte_size;
}
