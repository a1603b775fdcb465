// The types that cost least through bun:ffi, which are the ones that the package itself uses:
// doubles in, a double or an int out. A pointer type costs three times as much.
//
// A peer's functions are constants of its module, as the package's are: only then can the compiler
// call them directly.

export const allocSymbol = { args: ["f64", "f64"], returns: "f64" } as const;
export const freeSymbol = { args: ["f64", "f64"], returns: "i32" } as const;
