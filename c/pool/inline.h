// How functions are compiled that take part in every allocation and free, or in hardly any.
#ifndef INLINE_H
#define INLINE_H

// A function that is part of every allocation or free is inlined into each. The compiler would rather
// share one copy with the rare callers, which costs a fifth of the time of an allocation and its free.
#define ALWAYS_INLINE static inline __attribute__((always_inline))

// A function that hardly any call reaches is kept out of the path of the others.
#define NOINLINE static __attribute__((noinline))

#endif
