// The protocol's JSON, of which nothing is believed. No server, no memory.

import { describe, expect, test } from "bun:test";
import { inferAnswerJson } from "../../../examples/gateway/protocol/infer-answer.ts";
import { parseInferHeader } from "../../../examples/gateway/protocol/infer-header.ts";
import { bytesOfJson, jsonOfBytes } from "../../../examples/gateway/protocol/json-data.ts";
import { ProtocolError } from "../../../examples/gateway/protocol/protocol-error.ts";
import type { Datatype } from "../../../examples/gateway/protocol/datatype.ts";

const encode = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value));

function refusalOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return (error as ProtocolError).message;
  }
  throw new Error("it was not refused");
}

const input = (overrides: object = {}) => ({
  name: "INPUT0",
  datatype: "INT32",
  shape: [2, 3],
  parameters: { binary_data_size: 24 },
  ...overrides,
});
const parse = (json: unknown, binaryByteSize = 24) =>
  parseInferHeader(encode(json), binaryByteSize);

describe("the JSON of a request", () => {
  test("is read", () => {
    const json = {
      id: "42",
      inputs: [
        input(),
        { name: "INPUT1", datatype: "FP32", shape: [2], data: [0.5, -1], parameters: {} },
      ],
      outputs: [{ name: "A", parameters: { binary_data: true } }, { name: "B" }],
      parameters: { priority: 1, custom: "kept out" },
      unknown: 1,
    };
    expect(parse(json)).toEqual({
      id: "42",
      inputs: [
        { name: "INPUT0", datatype: "INT32", shape: [2, 3], byteSize: 24, bytes: null },
        {
          name: "INPUT1",
          datatype: "FP32",
          shape: [2],
          byteSize: 8,
          bytes: new Uint8Array(Float32Array.of(0.5, -1).buffer),
        },
      ],
      outputs: [
        { name: "A", isBinary: true },
        { name: "B", isBinary: false },
      ],
      isOutputBinary: false,
    });
  });

  test("says whether outputs are binary, for all or for each", () => {
    const parameters = { binary_data_output: true };
    const outputs = [{ name: "A" }, { name: "B", parameters: { binary_data: false } }];
    expect(parse({ inputs: [input()], parameters })).toMatchObject({
      outputs: null,
      isOutputBinary: true,
    });
    expect(parse({ inputs: [input()], parameters, outputs }).outputs).toEqual([
      { name: "A", isBinary: true },
      { name: "B", isBinary: false },
    ]);
  });

  test.each<[what: string, json: unknown, says: string]>([
    ["no JSON", "{", "does not begin with JSON"],
    ["no UTF-8", Buffer.from([0x22, 0xff, 0x22]).toString("latin1"), "must be a JSON object"],
    ["an array", [], "must be a JSON object"],
    ["null", null, "must be a JSON object"],
    ["nesting beyond all bounds", "[".repeat(500_000), "does not begin with JSON"],
    ["no inputs", {}, '"inputs" must be an array'],
    ["inputs that are none", { inputs: [1] }, 'each of "inputs" must be a JSON object'],
    ["too many inputs", { inputs: Array(17).fill(input()) }, "at most 16"],
    ["an input twice", { inputs: [input(), input()] }, "the same name"],
    ["a name that is none", { inputs: [input({ name: 1 })] }, 'a name in "inputs" must be a text'],
    ["a name too long", { inputs: [input({ name: "x".repeat(257) })] }, "at most 256 characters"],
    ["no datatype", { inputs: [input({ datatype: "INT33" })] }, 'no datatype "INT33"'],
    ["a datatype of Object", { inputs: [input({ datatype: "constructor" })] }, "no datatype"],
    ["an id that is none", { inputs: [input()], id: 1 }, '"id" must be a text'],
    ["parameters that are none", { inputs: [input()], parameters: 1 }, '"parameters"'],
    [
      "a region of shared memory",
      { inputs: [input({ parameters: { shared_memory_region: "x" } })] },
      "shared_memory_region is not supported",
    ],
    ["a sequence", { inputs: [input()], parameters: { sequence_id: 1 } }, "sequence_id is not"],
    [
      "a classification",
      { inputs: [input()], outputs: [{ name: "A", parameters: { classification: 1 } }] },
      "classification is not",
    ],
    [
      "binary_data that is none",
      { inputs: [input()], outputs: [{ name: "A", parameters: { binary_data: 1 } }] },
      '"binary_data" must be',
    ],
    [
      "neither data",
      { inputs: [input({ parameters: {} })] },
      'either "data" or "binary_data_size"',
    ],
    ["both data", { inputs: [input({ data: [] })] }, 'either "data" or "binary_data_size"'],
    [
      "a size that is none",
      { inputs: [input({ parameters: { binary_data_size: -4 } })] },
      "whole number",
    ],
    [
      "a size other than the shape's",
      { inputs: [input({ parameters: { binary_data_size: 20 } })] },
      "are not what INT32 [2,3] has",
    ],
    [
      "a size other than the body's",
      { inputs: [input({ shape: [7], parameters: { binary_data_size: 28 } })] },
      "have 28 binary bytes, behind the JSON come 24",
    ],
    [
      "texts too short for their number",
      { inputs: [input({ datatype: "BYTES", shape: [7] })] },
      "are not what BYTES [7] has",
    ],
  ])("is refused with %s", (_what, json, says) => {
    expect(refusalOf(() => parse(json))).toContain(says);
  });

  test.each<[unknown]>([
    [undefined],
    ["2"],
    [[-1]],
    [[1.5]],
    [["2"]],
    [[2 ** 53]],
    [[null]],
    [[[2]]],
    [Array(9).fill(1)],
  ])("is refused with a shape of %p", (shape) => {
    expect(refusalOf(() => parse({ inputs: [input({ shape })] }))).toContain("a shape has at most");
  });

  // A product that overflowed, or that a zero hid, could pass for the size that was sent.
  test.each([[[2 ** 32, 2 ** 32]], [[2 ** 27, 2 ** 27, 0]], [[0, 2 ** 52, 2 ** 52]], [[2 ** 51]]])(
    "is refused with a shape of [%p]",
    (shape) => {
      const json = { inputs: [input({ shape, parameters: { binary_data_size: 0 } })] };
      expect(refusalOf(() => parse(json, 0))).toContain("too many elements");
    },
  );

  test("may have tensors of no elements", () => {
    const json = { inputs: [input({ shape: [0, 7], parameters: { binary_data_size: 0 } })] };
    expect(parse(json, 0).inputs).toMatchObject([{ byteSize: 0 }]);
  });
});

describe("elements as JSON", () => {
  const spec = (datatype: Datatype, shape: number[]) => ({ name: "T", datatype, shape });

  test.each<[Datatype, unknown[], Uint8Array]>([
    ["BOOL", [true, false], Uint8Array.of(1, 0)],
    ["UINT8", [0, 255], Uint8Array.of(0, 255)],
    ["INT8", [-128, 127], Uint8Array.of(128, 127)],
    ["UINT16", [65535], Uint8Array.of(255, 255)],
    ["INT16", [-2], Uint8Array.of(254, 255)],
    ["UINT32", [2 ** 32 - 1], Uint8Array.of(255, 255, 255, 255)],
    ["INT32", [-(2 ** 31)], Uint8Array.of(0, 0, 0, 128)],
    ["UINT64", [2 ** 53 - 1], Uint8Array.of(255, 255, 255, 255, 255, 255, 31, 0)],
    ["INT64", [-1], new Uint8Array(8).fill(255)],
    ["FP32", [1.5], Uint8Array.of(0, 0, 192, 63)],
    ["FP64", [-2], Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 192)],
    ["BYTES", ["é", ""], Uint8Array.of(2, 0, 0, 0, 0xc3, 0xa9, 0, 0, 0, 0)],
  ])("of %s are stored as they are, and read back", (datatype, data, bytes) => {
    const tensor = spec(datatype, [data.length]);
    const stored = bytesOfJson(tensor, data);
    expect(stored).toEqual(bytes as Uint8Array<ArrayBuffer>);
    expect(JSON.parse(jsonOfBytes(tensor, stored))).toEqual(data);
  });

  test("may be nested as the shape, or flat", () => {
    const wanted = new Uint8Array(Int32Array.of(1, 2, 3, 4).buffer);
    for (const data of [
      [1, 2, 3, 4],
      [
        [1, 2],
        [3, 4],
      ],
      [
        [[1], [2]],
        [[3], [4]],
      ],
    ]) {
      expect(bytesOfJson(spec("INT32", [2, 2]), data)).toEqual(wanted);
    }
  });

  test.each<[Datatype, unknown]>([
    ["INT32", [1, 2.5]],
    ["INT32", [1, "2"]],
    ["INT32", [1, null]],
    ["INT32", [1, 2 ** 31]],
    ["UINT8", [-1, 0]],
    ["UINT8", [256, 0]],
    ["INT64", [2 ** 53, 0]],
    ["UINT64", [-1, 0]],
    ["FP32", ["1", 1]],
    ["BOOL", [1, 0]],
    ["BYTES", ["a", 1]],
    ["FP16", [1, 2]],
    ["BF16", [1, 2]],
    ["INT32", [1]],
    ["INT32", [1, 2, 3]],
    ["INT32", 1],
    ["INT32", { length: 2 }],
  ])("are refused where %s cannot be %p", (datatype, data) => {
    expect(refusalOf(() => bytesOfJson(spec(datatype, [2]), data))).toContain("T");
  });

  test("are refused where nothing ends their nesting", () => {
    const deep = JSON.parse("[".repeat(5000) + "1" + "]".repeat(5000)) as unknown;
    expect(refusalOf(() => bytesOfJson(spec("INT32", [1]), deep))).toContain("no INT32");
  });

  test("keep 64 bits on their way out", () => {
    const bytes = new Uint8Array(BigInt64Array.of(2n ** 62n + 1n).buffer);
    expect(jsonOfBytes(spec("INT64", [1]), bytes)).toBe("[4611686018427387905]");
  });

  test.each<[Datatype, Uint8Array<ArrayBuffer>]>([
    ["FP32", new Uint8Array(Float32Array.of(NaN).buffer)],
    ["FP64", new Uint8Array(Float64Array.of(Infinity).buffer)],
    ["FP16", Uint8Array.of(0, 0)],
    ["BYTES", Uint8Array.of(1, 0, 0, 0, 0xff)],
  ])("of %s that JSON cannot hold are refused", (datatype, bytes) => {
    expect(refusalOf(() => jsonOfBytes(spec(datatype, [1]), bytes))).toContain("binary data");
  });
});

test("the JSON of an answer has both kinds of outputs", () => {
  const json = inferAnswerJson({
    modelName: 'a "b"',
    modelVersion: "1",
    id: undefined,
    outputs: [
      { name: "A", datatype: "INT32", shape: [1, 2], data: { json: "[1,2]" } },
      { name: "B", datatype: "FP16", shape: [3], data: { binaryByteSize: 6 } },
    ],
  });
  expect(JSON.parse(json)).toEqual({
    model_name: 'a "b"',
    model_version: "1",
    outputs: [
      { name: "A", datatype: "INT32", shape: [1, 2], data: [1, 2] },
      { name: "B", datatype: "FP16", shape: [3], parameters: { binary_data_size: 6 } },
    ],
  });
});
