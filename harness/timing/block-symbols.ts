// The types that cost least through bun:ffi, which the package itself uses too: doubles in, a
// double or an int out. A pointer type costs three times as much.
//
// An allocator's functions have to be constants of its module, as the package's are: only then can
// the compiler call them directly.

export const allocSymbol = { args: ["f64", "f64"], returns: "f64" } as const;
export const freeSymbol = { args: ["f64", "f64"], returns: "i32" } as const;
