// The structs and enums that cross the boundary are laid out as TypeScript reads and writes them.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as memory from "../../src/native/memory-symbols.ts";
import { checkCxx } from "../support/toolkit.ts";
import { namingProblems, typeAssertions, typesIn, type TypeTables } from "./header-types.ts";
import { testWith } from "./needs.ts";
import { tableCheckSource } from "./table-check.ts";

const memoryHeader = "c/bun_cuda_memory.h";
const memoryTypes: TypeTables = {
  structs: {
    memory_failure: memory.memoryFailure,
    memory_allocation: memory.memoryAllocation,
    memory_pool_stats: memory.memoryPoolStats,
    memory_account_stats: memory.memoryAccountStats,
    cuda_memory_settings: memory.cudaMemorySettings,
    device_memory: memory.deviceMemory,
    cuda_stream: memory.cudaStream,
  },
  enums: {
    memory_status: memory.memoryStatus,
    memory_cause: memory.memoryCause,
    memory_fallback: memory.memoryFallback,
    memory_type: memory.memoryTypeNumber,
  },
};

const headers: Readonly<Record<string, TypeTables>> = {
  [memoryHeader]: memoryTypes,
  "simulator/cudart_sim.h": { structs: {}, enums: {} },
};

function textOf(header: string): string {
  return readFileSync(join(import.meta.dir, "../..", header), "utf8");
}

/** What a compiler says of tables for the types of a header. */
function compile(header: string, types: TypeTables) {
  return checkCxx(tableCheckSource({ header, symbols: {}, assertions: typeAssertions(types) }));
}

describe.each(Object.entries(headers))("the tables for the types of %s", (header, types) => {
  test("are for all of its structs and enums, and name all that is inside them", () => {
    expect(namingProblems(textOf(header), types)).toEqual([]);
  });

  testWith(["C++ compiler"], "have the order and the values that the compiler has", () => {
    expect(compile(header, types)).toMatchObject({ success: true, messages: "" });
  });
});

describe("what the tables do not describe is a problem", () => {
  const header = `
    struct pair { // of numbers
      double first;  double second; /* double third; */
    };
    enum color { RED = 0, BLUE = -1, GREEN };
    void use(const struct pair *pair, enum color color);
  `;
  const pair = { first: 0, second: 1 };
  const color = { RED: 0, BLUE: -1, GREEN: 0 };

  test("not where all of it is described", () => {
    expect([...typesIn(header)]).toEqual([
      ["struct pair", ["first", "second"]],
      ["enum color", ["RED", "BLUE", "GREEN"]],
    ]);
    expect(namingProblems(header, { structs: { pair }, enums: { color } })).toEqual([]);
  });

  test.each<[what: string, tables: TypeTables, problem: string]>([
    ["a struct", { structs: {}, enums: { color } }, "struct pair has no table"],
    ["an enum", { structs: { pair }, enums: {} }, "enum color has no table"],
    [
      "a table for no struct",
      { structs: { pair, triple: {} }, enums: { color } },
      "struct triple is not in the header",
    ],
    [
      "a table for no enum",
      { structs: { pair }, enums: { color, shape: {} } },
      "enum shape is not in the header",
    ],
    [
      "a member",
      { structs: { pair: { first: 0 } }, enums: { color } },
      "struct pair: second is not in the table",
    ],
    [
      "a table's own member",
      { structs: { pair: { ...pair, third: 2 } }, enums: { color } },
      "struct pair: third is not in the header",
    ],
    [
      "an enumerator",
      { structs: { pair }, enums: { color: { RED: 0, BLUE: -1 } } },
      "enum color: GREEN is not in the table",
    ],
    [
      "a table's own enumerator",
      { structs: { pair }, enums: { color: { ...color, PINK: 1 } } },
      "enum color: PINK is not in the header",
    ],
  ])("%s", (_, tables, problem) => {
    expect(namingProblems(header, tables)).toEqual([problem]);
  });

  test.each([
    ["a new struct", "struct triple { double third; };", "struct triple has no table"],
    ["a struct that has only a typedef", "typedef struct { double x; } point;", "struct  has no"],
    ["a union", "union either { double one; double other; };", "union either has no table"],
    ["a new enum", "enum shape { ROUND };", "enum shape has no table"],
  ])("%s", (_, definition, problem) => {
    const problems = namingProblems(header + definition, { structs: { pair }, enums: { color } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toStartWith(problem);
  });

  test.each([
    ["a member that is not a double", "struct triple { int third; };"],
    ["a member that is a pointer", "struct triple { double *third; };"],
    ["an array", "struct triple { double thirds[3]; };"],
    ["two members in one declaration", "struct triple { double one, other; };"],
    ["a struct inside another", "struct triple { struct pair { double x; } pair; double y; };"],
    ["a struct with an attribute", "struct __attribute__((packed)) triple { double third; };"],
    ["an enumerator that the preprocessor chooses", "enum shape {\n#ifdef X\nROUND\n#endif\n};"],
  ])("%s cannot be described at all", (_, definition) => {
    expect(() => typesIn(header + definition)).toThrow(/^no(t a definition| table can)/);
  });
});

describe("the compiler rejects a wrong table", () => {
  const [[struct, members]] = Object.entries(memoryTypes.structs) as [
    [string, Record<string, number>],
  ];
  const [[enumeration, values]] = Object.entries(memoryTypes.enums) as [
    [string, Record<string, number>],
  ];
  const [first, second] = Object.keys(members) as [string, string];
  const { [first]: _first, ...others } = members;
  const enumerator = Object.keys(values)[0]!;
  const otherEnumeration = Object.keys(memoryTypes.enums)[1]!;

  const wrong: readonly (readonly [string, Partial<TypeTables>, string])[] = [
    [
      "two members in each other's place",
      { structs: { [struct]: { ...members, [first]: 1, [second]: 0 } } },
      `offsetof(${struct}, ${first}) == 1 * sizeof(double)`,
    ],
    [
      "a member that is left out",
      { structs: { [struct]: others } },
      `sizeof(${struct}) == ${Object.keys(others).length} * sizeof(double)`,
    ],
    [
      "a member that the struct does not have",
      { structs: { [struct]: { ...others, no_such_member: 0 } } },
      "no_such_member",
    ],
    ["a struct that is not in the header", { structs: { no_such: members } }, "no_such"],
    [
      "an enumerator with another value",
      { enums: { [enumeration]: { ...values, [enumerator]: 77 } } },
      `${enumeration}::${enumerator} == 77`,
    ],
    [
      "an enumerator that the enum does not have",
      { enums: { [enumeration]: { ...values, NO_SUCH_ENUMERATOR: 0 } } },
      "NO_SUCH_ENUMERATOR",
    ],
    [
      "an enumerator of another enum",
      { enums: { [otherEnumeration]: { [enumerator]: values[enumerator]! } } },
      enumerator,
    ],
  ];
  for (const [name, tables, message] of wrong) {
    testWith(["C++ compiler"], name, () => {
      const { success, messages } = compile(memoryHeader, { structs: {}, enums: {}, ...tables });
      expect(success).toBeFalse();
      expect(messages).toContain(message);
    });
  }

  testWith(["C++ compiler"], "a member that is not a double", () => {
    const types = { structs: { cudaPointerAttributes: { device: 0 } }, enums: {} };
    const { success, messages } = compile("simulator/cudart_abi.h", types);
    expect(success).toBeFalse();
    expect(messages).toContain("ffi::is_f64<decltype(cudaPointerAttributes::device)>::value");
  });
});
