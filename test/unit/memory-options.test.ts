import { describe, expect, test } from "bun:test";
import { parseMemoryOptions } from "../../src/managers/memory-options.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { untyped } from "../support/values.ts";

describe("parseMemoryOptions", () => {
  test.each([
    [[], {}],
    [["--port", "8000", "model", "--verbose"], {}],
    [["--cuda-memory-pool-byte-size", "0:1024"], { cudaMemoryPoolByteSize: { 0: 1024 } }],
    [["--cuda-memory-pool-byte-size=0:1024"], { cudaMemoryPoolByteSize: { 0: 1024 } }],
    [
      ["--cuda-memory-pool-byte-size", "0:1", "--cuda-memory-pool-byte-size=1:2"],
      { cudaMemoryPoolByteSize: { 0: 1, 1: 2 } },
    ],
    [
      ["--cuda-memory-pool-byte-size=3:1", "--cuda-memory-pool-byte-size=3:0"],
      { cudaMemoryPoolByteSize: { 3: 0 } },
    ],
    [["--pinned-memory-pool-byte-size", "256MiB"], { pinnedMemoryPoolByteSize: 268435456 }],
    [
      ["--pinned-memory-pool-byte-size=5", "--pinned-memory-pool-byte-size=7"],
      { pinnedMemoryPoolByteSize: 7 },
    ],
    [["--min-supported-compute-capability", "7.5"], { minSupportedComputeCapability: 7.5 }],
    [["--min-supported-compute-capability=8"], { minSupportedComputeCapability: 8 }],
  ])("%j is %j", (argv, expected) => {
    expect(parseMemoryOptions(argv)).toEqual(expected);
  });

  test.each([
    ["0", 0],
    ["1KiB", 1024],
    ["64MiB", 67108864],
    ["3GiB", 3 * 1024 ** 3],
    ["2TiB", 2 * 1024 ** 4],
    ["1KB", 1000],
    ["64MB", 64_000_000],
    ["80GB", 80_000_000_000],
    ["1TB", 1e12],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ])("%s is %d bytes", (text, byteSize) => {
    expect(parseMemoryOptions(["--pinned-memory-pool-byte-size", text])).toEqual({
      pinnedMemoryPoolByteSize: byteSize,
    });
    expect(parseMemoryOptions([`--cuda-memory-pool-byte-size=4:${text}`])).toEqual({
      cudaMemoryPoolByteSize: { 4: byteSize },
    });
  });

  const badSizes = [
    "",
    "x",
    "-1",
    "1.5",
    "1.5GiB",
    "64XB",
    "64mib",
    "64M",
    "64 MiB",
    " 64",
    "0x10",
    "1e9",
    "+5",
    "9007199254740992",
    "8192TiB",
    "99999999999999999999999999",
    "constructor",
    "1constructor",
  ];
  const badPools = ["0", "x:1", ":1", "0:1:2", "-1:5", "1.5:5", "0:", "9007199254740992:1"];

  test.each([
    ...badPools.map((value) => ["cuda-memory-pool-byte-size", value] as const),
    ...badSizes.map((size) => ["cuda-memory-pool-byte-size", `0:${size}`] as const),
    ...badSizes.map((size) => ["pinned-memory-pool-byte-size", size] as const),
    ...["", "x", "-1", "7.", ".5", "7.5.1", "1e1", "Infinity", "9".repeat(400)].map(
      (value) => ["min-supported-compute-capability", value] as const,
    ),
  ])("--%s %j is refused", (name, value) => {
    for (const argv of [[`--${name}=${value}`], [`--${name}`, value]]) {
      const message = expectMemoryError("INVALID_ARG", () => parseMemoryOptions(argv));
      expect(message).toContain(`--${name}`);
      if (value !== "") expect(message).toContain(`got "${value}"`);
    }
  });

  test("a value that is missing is refused, and so is a bad one before a good one", () => {
    for (const name of [
      "cuda-memory-pool-byte-size",
      "pinned-memory-pool-byte-size",
      "min-supported-compute-capability",
    ]) {
      const message = expectMemoryError("INVALID_ARG", () => parseMemoryOptions([`--${name}`]));
      expect(message).toContain(`--${name}`);
      expect(message).toContain("got no value");
    }
    expectMemoryError("INVALID_ARG", () =>
      parseMemoryOptions(["--pinned-memory-pool-byte-size=x", "--pinned-memory-pool-byte-size=1"]),
    );
  });

  test("argv must be an array of strings", () => {
    for (const argv of [undefined, null, "--x", [1], {}]) {
      expectMemoryError("INVALID_ARG", () => parseMemoryOptions(untyped(argv)));
    }
  });
});
