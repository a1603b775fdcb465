// How a function is compiled that takes part in every allocation and free, or in hardly any.
#ifndef HOT_H
#define HOT_H

// Part of every allocation or free. The compiler would rather have one copy for those and for what
// is rare, which costs a fifth of a pair.
#define HOT static inline __attribute__((always_inline))

// The opposite: what would make the path of most calls longer without being part of it.
#define ASIDE static __attribute__((noinline))

#endif
