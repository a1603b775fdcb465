import { describe, expect, test } from "bun:test";
import { type MemoryOptions, parseMemoryOptions } from "../../src/managers/memory-options.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { untyped } from "../support/values.ts";

describe("parseMemoryOptions", () => {
  test.each<[argv: string[], expected: MemoryOptions]>([
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
    [
      ["--cuda-memory-pool-byte-size", "0:80%", "--cuda-memory-pool-byte-size=1:12.5%"],
      { cudaMemoryPoolByteSize: { 0: "80%", 1: "12.5%" } },
    ],
    [
      ["--cuda-memory-pool-byte-size=2:100%", "--cuda-memory-pool-byte-size=3:0%"],
      { cudaMemoryPoolByteSize: { 2: "100%", 3: "0%" } },
    ],
    [["--pinned-memory-pool-byte-size", "256MiB"], { pinnedMemoryPoolByteSize: 268435456 }],
    [
      ["--pinned-memory-pool-byte-size=5", "--pinned-memory-pool-byte-size=7"],
      { pinnedMemoryPoolByteSize: 7 },
    ],
    [["--min-supported-compute-capability", "7.5"], { minSupportedComputeCapability: 7.5 }],
    [["--min-supported-compute-capability=8"], { minSupportedComputeCapability: 8 }],
    [["--enable-peer-access", "false"], { enablePeerAccess: false }],
    [["--enable-peer-access=false", "--enable-peer-access=true"], { enablePeerAccess: true }],
    [["--nonpinned-memory-limit", "1GiB"], { nonpinnedMemoryLimitByteSize: 1024 ** 3 }],
    [
      ["--nonpinned-memory-limit=5", "--nonpinned-memory-limit=0"],
      { nonpinnedMemoryLimitByteSize: 0 },
    ],
    [["--memory-fallback", "none"], { fallback: "none" }],
    [["--memory-fallback=none", "--memory-fallback=pinned"], { fallback: "pinned" }],
    [["--memory-fallback=system"], { fallback: "system" }],
    [["--memory-required"], { required: true }],
    [["--memory-required", "--port", "8000"], { required: true }],
    [["--memory-required", "model"], { required: true }],
    [["--memory-required=true"], { required: true }],
    [["--memory-required=false"], { required: false }],
    [["--memory-required", "false"], { required: false }],
    [["--memory-required", "--memory-required=false"], { required: false }],
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
  const badShares = [
    "101%",
    "100.1%",
    "-1%",
    "%",
    ".5%",
    "5.%",
    "1e1%",
    "80 %",
    "80%%",
    "8%0",
    "x%",
  ];
  const badPools = ["0", "x:1", ":1", "0:1:2", "-1:5", "1.5:5", "0:", "9007199254740992:1"];

  test.each([
    ...badPools.map((value) => ["cuda-memory-pool-byte-size", value] as const),
    ...badSizes.map((size) => ["cuda-memory-pool-byte-size", `0:${size}`] as const),
    ...badShares.map((size) => ["cuda-memory-pool-byte-size", `0:${size}`] as const),
    ...[...badSizes, "80%"].map((size) => ["pinned-memory-pool-byte-size", size] as const),
    ...[...badSizes, "80%"].map((size) => ["nonpinned-memory-limit", size] as const),
    ...["", "1", "yes", "True", " true", "--port"].map(
      (value) => ["enable-peer-access", value] as const,
    ),
    ...["", "None", "gpu", "cpu", "true"].map((value) => ["memory-fallback", value] as const),
    ...["", "x", "-1", "7.", ".5", "7.5.1", "1e1", "Infinity", "9".repeat(400)].map(
      (value) => ["min-supported-compute-capability", value] as const,
    ),
  ])("--%s %j is refused", (name, value) => {
    for (const argv of [[`--${name}=${value}`], [`--${name}`, value]]) {
      const message = expectMemoryError("INVALID_ARG", () => parseMemoryOptions(argv));
      expect(message).toContain(`--${name}`);
      expect(message).toContain(`got "${value.slice(0, 100)}"`);
    }
  });

  test("a value that is missing is refused, and so is a bad one before a good one", () => {
    for (const name of [
      "cuda-memory-pool-byte-size",
      "pinned-memory-pool-byte-size",
      "min-supported-compute-capability",
      "enable-peer-access",
      "nonpinned-memory-limit",
      "memory-fallback",
    ]) {
      const message = expectMemoryError("INVALID_ARG", () => parseMemoryOptions([`--${name}`]));
      expect(message).toContain(`--${name}`);
      expect(message).toContain("got no value");
    }
    expectMemoryError("INVALID_ARG", () =>
      parseMemoryOptions(["--pinned-memory-pool-byte-size=x", "--pinned-memory-pool-byte-size=1"]),
    );
  });

  test.each(["", "1", "no", "truefalse"])("--memory-required=%s is refused", (value) => {
    const message = expectMemoryError("INVALID_ARG", () =>
      parseMemoryOptions([`--memory-required=${value}`]),
    );
    expect(message).toBe(`--memory-required: expected true or false, got "${value}"`);
  });

  test("a value is repeated only in part where it is long, and never cut inside a character", () => {
    for (const name of ["cuda-memory-pool-byte-size", "min-supported-compute-capability"]) {
      const value = `${"x".repeat(99)}${"\u{1F600}".repeat(1 << 19)}`;
      const message = expectMemoryError("INVALID_ARG", () =>
        parseMemoryOptions([`--${name}`, value]),
      );
      expect(message.length).toBeLessThan(300);
      expect(message).toEndWith(`got "${"x".repeat(99)}"...`);
    }
    const message = expectMemoryError("INVALID_ARG", () =>
      parseMemoryOptions([`--pinned-memory-${"x".repeat(1 << 20)}`]),
    );
    expect(message.length).toBeLessThan(300);
  });

  test.each([
    ["--pinned-memory-pool-bytes=0", "pinned-memory-pool-byte-size"],
    ["--pinned-memory-pool-size", "pinned-memory-pool-byte-size"],
    ["--pinned-memory-pool-byte-sizes=5", "pinned-memory-pool-byte-size"],
    ["--pined-memory-pool-byte-size=5", "pinned-memory-pool-byte-size"],
    ["--cuda-memory-pool-bytesize", "cuda-memory-pool-byte-size"],
    ["--cuda-memory-pool-x", "cuda-memory-pool-byte-size"],
    ["--cudamemory-pool-bytesize", "cuda-memory-pool-byte-size"],
    ["--CUDA_memory_pool_byte_size=0:1", "cuda-memory-pool-byte-size"],
    ["-cuda-memory-pool-byte-size=0:1", "cuda-memory-pool-byte-size"],
    ["--min-suported-compute-capabilty", "min-supported-compute-capability"],
    ["--enable-peer-acces=false", "enable-peer-access"],
    ["--nonpinned-memory-limits=5", "nonpinned-memory-limit"],
    ["--non-pinned-memory-limit", "nonpinned-memory-limit"],
    ["--nonpined-memory-limit", "nonpinned-memory-limit"],
    ["--pinned-memory-limit=5", "nonpinned-memory-limit"],
    ["--memory-require", "memory-required"],
    ["--memory_required", "memory-required"],
  ])("%s, which is none of the options, is refused", (argument, meant) => {
    const argv = ["--port", "8000", argument, "0:1", "model"];
    const message = expectMemoryError("INVALID_ARG", () => parseMemoryOptions(argv));
    expect(message).toContain(`there is no option "${argument}"; did you mean --${meant}?`);
    expect(parseMemoryOptions(["--", ...argv])).toEqual({});
  });

  test.each([
    "--memory-pool-byte-size=5",
    "--cuda-memory=5",
    "--pinned-memory=5",
    "--best-supported-compute-capability=5",
    "--enable-peering",
    "--memory-growth",
    "--memory-limit=5",
    "--nonpinned-memory",
    "pinned-memory-pool-bytes",
    "--",
    "-",
    "-p",
    "",
  ])("%s, which is nothing like them, is somebody else's", (argument) => {
    expect(parseMemoryOptions([argument])).toEqual({});
  });

  test("argv must be an array of strings", () => {
    const { proxy, revoke } = Proxy.revocable([], {});
    revoke();
    const throwing = Object.defineProperty(["--x"], 0, {
      get() {
        throw new Error("no");
      },
    });
    const sparse: string[] = [];
    sparse.length = 3;
    for (const argv of [undefined, null, "--x", [1], {}, proxy, throwing, sparse]) {
      const message = expectMemoryError("INVALID_ARG", () => parseMemoryOptions(untyped(argv)));
      expect(message).toContain("argv must be an array of strings");
    }
  });
});
