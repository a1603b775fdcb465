// The accounts of the process, by name.
//
// An account that nobody refers to, for which nobody waits, that has no limit and no memory is as good
// as forgotten: asked for by name it is a new one, and its number goes to another name when numbers run
// out, or when somebody asks for all accounts.
#ifndef ACCOUNTS_H
#define ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/account.h"

enum { ACCOUNT_NAME_BYTE_SIZE_MAX = 1025 }; // with the zero at its end

// Keeps an account from being forgotten. False where it has been.
bool accounts_keep(uint64_t key);
void accounts_release(uint64_t key);

// Copies an account's name, for a message.
void accounts_copy_name(uint64_t key, char name[ACCOUNT_NAME_BYTE_SIZE_MAX]);

#endif
