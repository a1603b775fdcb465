// What accounts may have, have and have had, of each kind of memory and of all together.
#ifndef ACCOUNT_FIGURES_H
#define ACCOUNT_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

// Takes note of a request for memory of this place that failed, or that memory of another place served. A
// key of 0 is nobody's.
void accounts_note_refusal(double place, uint64_t key, bool is_fallback);

#endif
