import { dlopen } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import {
  cudaDeviceAttr,
  cudaError,
  cudaMemoryTypes,
  cudaPointerAttributes,
  cudartSymbols,
} from "../../src/native/cudart-symbols.ts";
import {
  memoryLocation,
  memoryPoolStats,
  memoryStatus,
  memorySymbols,
  memoryTypeNumber,
} from "../../src/native/memory-symbols.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import {
  delayNsMax,
  extraCudartSymbols,
  simulatorSymbols,
} from "../../src/native/simulator-symbols.ts";
import { tableCheckSource, type TableCheck } from "./table-check.ts";
import {
  cCompiler,
  checkC,
  checkCxx,
  cudaHeaderVersion,
  cudaIncludeFolder,
  cudartPath,
  cxxCompiler,
  preprocessC,
} from "./toolkit.ts";

/** The CUDA whose ABI the simulator has; its header must be of the same major version. */
const simulatedMajorVersion = 13;

type Need = "C compiler" | "C++ compiler" | "CUDA header" | "CUDA 13 header" | "libcudart 13";

/** Why a need is not met, or undefined when it is. */
function missing(need: Need): string | undefined {
  switch (need) {
    case "C compiler":
      return cCompiler === null ? "no C compiler" : undefined;
    case "C++ compiler":
      return cxxCompiler === null ? "no C++ compiler" : undefined;
    case "CUDA header":
      return cudaIncludeFolder === undefined ? "no cuda_runtime_api.h" : undefined;
    case "CUDA 13 header": {
      const version = cudaIncludeFolder === undefined ? 0 : cudaHeaderVersion(cudaIncludeFolder);
      const matches = Math.floor(version / 1000) === simulatedMajorVersion;
      return matches ? undefined : `no cuda_runtime_api.h of CUDA ${simulatedMajorVersion}`;
    }
    case "libcudart 13": {
      const soname = `libcudart.so.${simulatedMajorVersion}`;
      const matches = cudartPath !== undefined && realpathSync(cudartPath).includes(soname);
      return matches ? undefined : `no ${soname}`;
    }
  }
}

/** A test that is skipped, with the reason in its name, where a need is not met. */
function testWith(needs: readonly Need[], name: string, body: () => void): void {
  const reasons = needs.map(missing).filter((reason) => reason !== undefined);
  const skipped = reasons.length > 0;
  test.skipIf(skipped)(skipped ? `${name} (skipped: ${reasons.join(", ")})` : name, body);
}

function equalities(constants: Readonly<Record<string, number>>): string[] {
  return Object.entries(constants).map(([name, value]) => `${name} == ${value}`);
}

function capitalize(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

const cudartAssertions = [
  ...equalities(cudaError),
  ...equalities(cudaDeviceAttr),
  ...cudaMemoryTypes.map((type, value) => `cudaMemoryType${capitalize(type)} == ${value}`),
  `offsetof(cudaPointerAttributes, type) == ${cudaPointerAttributes.type}`,
  `offsetof(cudaPointerAttributes, device) == ${cudaPointerAttributes.device}`,
  `sizeof(cudaPointerAttributes) <= ${cudaPointerAttributes.byteSize}`,
];

/** That a struct is made of these doubles, and of no others. */
function structOfDoubles(name: string, members: Readonly<Record<string, number>>): string[] {
  return [
    ...Object.entries(members).map(
      ([member, index]) => `offsetof(${name}, ${member}) == ${index} * sizeof(double)`,
    ),
    `sizeof(${name}) == ${Object.keys(members).length} * sizeof(double)`,
  ];
}

const memoryAssertions = [
  ...equalities(memoryStatus),
  ...equalities(memoryTypeNumber),
  ...structOfDoubles("memory_location", memoryLocation),
  ...structOfDoubles("memory_pool_stats", memoryPoolStats),
];

interface NamedCheck extends TableCheck {
  readonly name: string;
  readonly needs: readonly Need[];
}

const tables: readonly NamedCheck[] = [
  {
    name: "cudartSymbols and the constants beside it",
    header: "cuda_runtime_api.h",
    needs: ["C++ compiler", "CUDA header"],
    symbols: cudartSymbols,
    assertions: cudartAssertions,
  },
  {
    name: "extraCudartSymbols",
    header: "cuda_runtime_api.h",
    needs: ["C++ compiler", "CUDA header"],
    symbols: extraCudartSymbols,
  },
  {
    name: "memorySymbols",
    header: "c/bun_cuda_memory.h",
    needs: ["C++ compiler"],
    symbols: memorySymbols,
    assertions: memoryAssertions,
  },
  {
    name: "simulatorSymbols and the limit beside it",
    header: "simulator/cudart_sim.h",
    needs: ["C++ compiler"],
    symbols: simulatorSymbols,
    assertions: equalities({ CUDART_SIM_DELAY_NS_MAX: delayNsMax }),
  },
];

describe("bun:ffi tables agree with the C headers", () => {
  for (const table of tables) {
    testWith(table.needs, `${table.name} with ${table.header}`, () => {
      expect(Object.keys(table.symbols)).not.toBeEmpty();
      expect(checkCxx(tableCheckSource(table))).toMatchObject({ success: true, messages: "" });
    });
  }
});

describe("the compiler rejects a wrong table", () => {
  const header = "simulator/cudart_sim.h";
  const right = simulatorSymbols.cudartSimFailCall;
  const wrong: readonly (readonly [string, Omit<TableCheck, "header">, string])[] = [
    [
      "an argument too few",
      { symbols: { cudartSimFailCall: { ...right, args: ["ptr", "u64"] } } },
      "cudartSimFailCall: not 2 arguments",
    ],
    [
      "an argument too many",
      { symbols: { cudartSimFailCall: { ...right, args: [...right.args, "i32"] } } },
      "cudartSimFailCall: argument 4 is not i32",
    ],
    [
      "an argument of another width",
      { symbols: { cudartSimFailCall: { ...right, args: ["ptr", "u32", "i32"] } } },
      "cudartSimFailCall: argument 2 is not u32",
    ],
    [
      "an argument of another signedness",
      { symbols: { cudartSimFailCall: { ...right, args: ["ptr", "u64", "u32"] } } },
      "cudartSimFailCall: argument 3 is not u32",
    ],
    [
      "an integer for a pointer",
      { symbols: { cudartSimFailCall: { ...right, args: ["u64", "u64", "i32"] } } },
      "cudartSimFailCall: argument 1 is not u64",
    ],
    [
      "an integer for a double",
      { symbols: { cudartSimFailCall: { ...right, args: ["ptr", "f64", "i32"] } } },
      "cudartSimFailCall: argument 2 is not f64",
    ],
    [
      "another return type",
      { symbols: { cudartSimFailCall: { ...right, returns: "ptr" } } },
      "cudartSimFailCall: does not return ptr",
    ],
    [
      "no return type",
      { symbols: { cudartSimFailCall: { args: right.args } } },
      "cudartSimFailCall: does not return void",
    ],
    [
      "a function that is not in the header",
      { symbols: { cudartSimNoSuchFunction: { args: [], returns: "i32" } } },
      "cudartSimNoSuchFunction",
    ],
    ["a wrong constant", { symbols: {}, assertions: ["sizeof(int) == 8"] }, "sizeof(int) == 8"],
  ];
  for (const [name, table, message] of wrong) {
    testWith(["C++ compiler"], name, () => {
      const { success, messages } = checkCxx(tableCheckSource({ header, ...table }));
      expect(success).toBeFalse();
      expect(messages).toContain(message);
    });
  }

  testWith(["C++ compiler", "CUDA header"], "a wrong number of a CUDA error", () => {
    const assertions = equalities({ cudaErrorNoDevice: 101 });
    const table = { header: "cuda_runtime_api.h", symbols: {}, assertions };
    expect(checkCxx(tableCheckSource(table))).toMatchObject({
      success: false,
      messages: expect.stringContaining("cudaErrorNoDevice == 101"),
    });
  });

  test("a type that the check does not know is an error of the check", () => {
    const table = { header, symbols: { someFunction: { args: ["napi_env"] } } } as const;
    expect(() => tableCheckSource(table)).toThrow("someFunction: no check for");
  });
});

describe("the simulator has the ABI of CUDA", () => {
  /** Takes CUDA's header in place of the simulator's own declarations. */
  const withCudaHeader = [
    "-DCUDART_ABI_H",
    "-include",
    "cuda_runtime_api.h",
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
    expect(known).toContain(999);
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
