// That what the check declares of CUDA by hand is what CUDA's header declares.

import type { FFIFunction } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { realCudartSymbols } from "../../gpu-check/cuda-symbols.ts";
import { tableCheckSource } from "../abi/table-check.ts";
import { checkCxx, cudaIncludeFolder, cxxCompiler } from "../support/toolkit.ts";

const folder = join(import.meta.dir, "../../gpu-check");

/** The functions that a C file declares by hand, as bun:ffi would declare them. */
function declaredFunctions(path: string): Record<string, FFIFunction> {
  const typeOf = (parameter: string) => {
    if (parameter.includes("*")) return "ptr";
    if (parameter.startsWith("size_t ")) return "u64";
    return parameter.startsWith("unsigned int ") ? "u32" : "i32";
  };
  const declarations = readFileSync(path, "utf8").matchAll(/ X\((.+?), (cuda\w+), \((.*?)\)\)/g);
  return Object.fromEntries(
    Array.from(declarations, ([, result, name, parameters]) => {
      const args = parameters === "void" ? [] : parameters!.split(", ").map(typeOf);
      return [name!, { args, returns: result === "int" ? "i32" : "cstring" }];
    }),
  );
}

describe.skipIf(cudaIncludeFolder === undefined || cxxCompiler === null)(
  "what the check declares of CUDA is so (skipped without a C++ compiler or CUDA's header)",
  () => {
    const header = "cuda_runtime_api.h";

    test("the tables of bun:ffi", () => {
      expect(checkCxx(tableCheckSource({ header, symbols: realCudartSymbols }))).toMatchObject({
        success: true,
        messages: "",
      });
    });

    test("cuda_calls.c", () => {
      const symbols = declaredFunctions(join(folder, "steps/speed/cuda_calls.c"));
      expect(Object.keys(symbols)).toHaveLength(14);
      const assertions = [
        "cudaStreamNonBlocking == 1",
        "cudaHostAllocPortable == 1",
        "cudaMemAllocationTypePinned == 1",
        "cudaMemLocationTypeDevice == 1",
        "cudaMemPoolAttrReleaseThreshold == 4",
        "sizeof(cudaMemPoolProps) == 88",
        "offsetof(cudaMemPoolProps, allocType) == 0",
        "offsetof(cudaMemPoolProps, location) == 8",
        "offsetof(cudaMemLocation, type) == 0",
        "offsetof(cudaMemLocation, id) == 4",
      ];
      expect(checkCxx(tableCheckSource({ header, symbols, assertions }))).toMatchObject({
        success: true,
        messages: "",
      });
    });
  },
);
