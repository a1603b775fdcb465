// The functions of the CUDA runtime that the C library calls are declared as TypeScript, which hands
// over their addresses, declares them, and as CUDA does.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cudartSymbols } from "../../src/native/cudart-symbols.ts";
import { checkCxx } from "../support/toolkit.ts";
import { testWith } from "./needs.ts";
import { tableCheckSource } from "./table-check.ts";

const header = "c/cuda/cudart.h";
const text = readFileSync(join(import.meta.dir, "../..", header), "utf8");
const list = /#define CUDART_FUNCTIONS\(X\)(.*?[^\\])\n/s.exec(text)![1]!;

/** The names of the C library's list. */
const names = [...list.matchAll(/\bX\([^,]+, (\w+),/g)].map(([, name]) => name!);

/** What a compiler says of the list beside a table of bun:ffi declarations. */
function compareWithTable(symbols: typeof cudartSymbols) {
  const listed = names.flatMap((name) => Object.entries(symbols).filter(([key]) => key === name));
  const typeOf = (name: string) => `decltype(::cudart.${name})`;
  return checkCxx(tableCheckSource({ header, symbols: Object.fromEntries(listed), typeOf }));
}

/** What a compiler says of such a list beside CUDA's own header. */
function compareWithCuda(functions: string) {
  return checkCxx(`
    #include <cuda_runtime_api.h>
    #include "test/abi/same_abi.hpp"
    #define SAME(result, name, parameters)                                            \\
      static_assert(abi::is_same<result(*) parameters, decltype(&::name)>(), #name " differs");
    #define FUNCTIONS(X) ${functions}
    FUNCTIONS(SAME)
  `);
}

describe("what the C library calls of the CUDA runtime", () => {
  test("is handed over by TypeScript", () => {
    expect(names).toContain("cudaMalloc");
    expect(names.length).toBe(list.match(/\bX\(/g)!.length);
    expect(names.filter((name) => !(name in cudartSymbols))).toEqual([]);
  });

  testWith(["C++ compiler"], "has the types that TypeScript declares", () => {
    expect(compareWithTable(cudartSymbols)).toMatchObject({ success: true, messages: "" });
  });

  testWith(["C++ compiler"], "is compared with what TypeScript declares", () => {
    const wrong = { ...cudartSymbols, cudaMemset: { args: ["ptr", "i32", "u32"], returns: "i32" } };
    const { success, messages } = compareWithTable(wrong as unknown as typeof cudartSymbols);
    expect(success).toBeFalse();
    expect(messages).toContain("cudaMemset: argument 3 is not u32");
  });

  testWith(["C++ compiler", "CUDA header"], "has the types that CUDA declares", () => {
    expect(compareWithCuda(list)).toMatchObject({ success: true, messages: "" });
  });
});

describe("a declaration that is not CUDA's is rejected", () => {
  for (const [name, functions] of [
    ["a pointer to a wider number", "X(int, cudaGetDevice, (long *device))"],
    ["an argument too few", "X(int, cudaMalloc, (void **pointer))"],
    ["a narrower argument", "X(int, cudaMalloc, (void **pointer, unsigned int byte_size))"],
    ["a pointer for a pointer to one", "X(int, cudaStreamCreateWithFlags, (int *, unsigned int))"],
    ["a number for a pointer", "X(int, cudaFree, (unsigned long pointer))"],
    ["another result", "X(const char *, cudaFree, (void *pointer))"],
    ["another sign", "X(int, cudaSetDevice, (unsigned int device))"],
  ] as const) {
    testWith(["C++ compiler", "CUDA header"], `${name}: ${functions}`, () => {
      const { success, messages } = compareWithCuda(functions);
      expect(success).toBeFalse();
      expect(messages).toContain("differs");
    });
  }
});
