import type { FFIFunction } from "bun:ffi";

/** A table of bun:ffi declarations, and the C header that it must agree with. */
export interface TableCheck {
  /** As `#include` takes it, relative to the repository's root or on the include path. */
  readonly header: string;
  readonly symbols: Readonly<Record<string, FFIFunction>>;
  /** The C++ type of a pointer to a function; by default that of the header's function. */
  readonly typeOf?: (name: string) => string;
  /** Further C++ expressions that must hold, such as `cudaErrorNoDevice == 100`. */
  readonly assertions?: readonly string[];
}

/** Predicates of `ffi_types.hpp` for the bun:ffi types that tables use. */
const predicates: Readonly<Record<string, string>> = {
  void: "is_void",
  i32: "is_i32",
  u32: "is_u32",
  i64: "is_i64",
  i64_fast: "is_i64",
  u64: "is_u64",
  u64_fast: "is_u64",
  usize: "is_u64",
  f64: "is_f64",
  ptr: "is_pointer",
  buffer: "is_pointer",
  cstring: "is_cstring",
};

function predicateOf(name: string, type: unknown): string {
  const predicate = predicates[String(type)];
  if (predicate === undefined) {
    throw new Error(`${name}: no check for the bun:ffi type ${String(type)}`);
  }
  return predicate;
}

function functionAssertions(
  name: string,
  type: string,
  { args = [], returns = "void" }: FFIFunction,
): string[] {
  const count = `ffi::argument_count<${type}> == ${args.length}`;
  const result = `ffi::return_satisfies<ffi::${predicateOf(name, returns)}, ${type}>`;
  return [
    `static_assert(${count}, "${name}: not ${args.length} arguments");`,
    `static_assert(${result}, "${name}: does not return ${String(returns)}");`,
    ...args.map((argument, index) => {
      const holds = `ffi::argument_satisfies<ffi::${predicateOf(name, argument)}, ${index}, ${type}>()`;
      return `static_assert(${holds}, "${name}: argument ${index + 1} is not ${String(argument)}");`;
    }),
  ];
}

/** That constants of a header have these values. */
export function equalities(constants: Readonly<Record<string, number>>): string[] {
  return Object.entries(constants).map(([name, value]) => `${name} == ${value}`);
}

/** A C++ text that compiles if, and only if, the table agrees with the header. */
export function tableCheckSource(check: TableCheck): string {
  const { header, symbols, typeOf = (name) => `decltype(&::${name})`, assertions = [] } = check;
  return [
    "#include <cstddef>",
    `#include "${header}"`,
    `#include "test/abi/ffi_types.hpp"`,
    ...Object.entries(symbols).flatMap(([name, symbol]) =>
      functionAssertions(name, typeOf(name), symbol),
    ),
    ...assertions.map((assertion) => `static_assert(${assertion}, "${assertion}");`),
    "",
  ].join("\n");
}
