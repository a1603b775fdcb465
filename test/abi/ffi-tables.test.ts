// The functions and constants that TypeScript declares are those of the C headers.

import { describe, expect, test } from "bun:test";
import {
  cudaDeviceAttr,
  cudaError,
  cudaMemoryTypes,
  cudaPointerAttributes,
  cudartSymbols,
  extraCudartSymbols,
} from "../../src/native/cudart-symbols.ts";
import { memorySymbols } from "../../src/native/memory-symbols.ts";
import { delayNsMax, simulatorSymbols } from "../../src/native/simulator-symbols.ts";
import { checkCxx } from "../support/toolkit.ts";
import { type Need, testWith } from "./needs.ts";
import { equalities, tableCheckSource, type TableCheck } from "./table-check.ts";

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
