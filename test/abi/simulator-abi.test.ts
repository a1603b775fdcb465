import { dlopen } from "bun:ffi";
import { describe, expect } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { cudartSymbols } from "../../src/native/cudart-symbols.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { checkC, checkCxx, cudartPath, preprocessC } from "../support/toolkit.ts";
import { testWith } from "./needs.ts";
import { tableCheckSource } from "./table-check.ts";

describe("the simulator has the ABI of CUDA", () => {
  /** Takes CUDA's header in place of the simulator's own declarations. */
  const withCudaHeader = [
    "-DCUDART_ABI_H",
    "-DCUDA_ABI_H",
    "-include",
    "cuda_runtime_api.h",
    "-include",
    "cuda.h",
    "-Wmissing-prototypes",
  ];
  const needs = ["C compiler", "CUDA 13 header"] as const;

  const folder = join(import.meta.dir, "../../simulator");
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".c")) {
      testWith(needs, `${file} compiles with cuda_runtime_api.h`, () => {
        const result = checkC(join("simulator", file), withCudaHeader);
        expect(result).toMatchObject({ success: true, messages: "" });
      });
    }
  }

  testWith(needs, "a prototype that differs does not compile", () => {
    const result = checkC("test/abi/wrong_prototype.c", withCudaHeader);
    expect(result.success).toBeFalse();
    expect(result.messages).toContain("conflicting types for 'cudaMalloc'");
  });

  testWith(needs, "a function that CUDA does not have does not compile", () => {
    const result = checkC("test/abi/unknown_function.c", withCudaHeader);
    expect(result.success).toBeFalse();
    expect(result.messages).toContain("no previous prototype for 'cudaNoSuchFunction'");
  });

  testWith([...needs, "C++ compiler"], "every enumerator of cudart_abi.h is CUDA's", () => {
    const { output } = preprocessC("simulator/cudart_abi.h");
    const assertions = Array.from(
      output.matchAll(/\b(cuda\w+) = (-?\d+)/g),
      ([, name, value]) => `${name} == ${value}`,
    );
    expect(assertions).toContain("cudaErrorNoDevice == 100");
    expect(assertions).toContain("cudaDevAttrHostNumaId == 134");
    expect(assertions).toContain("cudaInvalidDeviceId == -2");
    const table = { header: "cuda_runtime_api.h", symbols: {}, assertions };
    expect(checkCxx(tableCheckSource(table))).toMatchObject({ success: true, messages: "" });
  });

  for (const header of ["simulator/cudart_abi.h", "cuda_runtime_api.h"]) {
    testWith(needs, `cudart_layout.c holds for ${header}`, () => {
      const result = checkC("test/abi/cudart_layout.c", [`-DCUDART_HEADER="${header}"`]);
      expect(result).toMatchObject({ success: true, messages: "" });
    });
  }

  testWith(["libcudart 13"], "errors have the names and texts of the real library", () => {
    const real = dlopen(String(cudartPath), cudartSymbols).symbols;
    const simulated = dlopen(simulatorLibraryPath, cudartSymbols).symbols;
    const known = Array.from({ length: 1001 }, (_, number) => number - 1).filter(
      (number) => String(simulated.cudaGetErrorName(number)) !== "unrecognized error code",
    );
    const ofCuda = Array.from({ length: 1001 }, (_, number) => number - 1).filter(
      (number) => String(real.cudaGetErrorName(number)) !== "unrecognized error code",
    );
    expect(known).toEqual(ofCuda);
    const describeErrors = (library: typeof real): string[] =>
      known.map(
        (number) =>
          `${number} ${library.cudaGetErrorName(number)}: ${library.cudaGetErrorString(number)}`,
      );
    expect(describeErrors(simulated)).toEqual(describeErrors(real));
    expect(String(simulated.cudaGetErrorString(12_345))).toBe(
      String(real.cudaGetErrorString(12_345)),
    );
  });
});
