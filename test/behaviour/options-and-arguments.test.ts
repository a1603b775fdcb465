// What is not what it has to be is refused before anything is touched, whatever it is.

import type { Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
  getSupportedGpus,
  parseMemoryOptions,
  PinnedMemoryManager,
  pointerAttributes,
  setLogger,
} from "../../src/index.ts";
import { expectMemoryError, rejectionOf } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { untyped } from "../support/values.ts";

resetAfterEach();

const bytes = new Uint8Array(8);

function waitForOther(other: CudaStream): void {
  using stream = new CudaStream(gpus[0]);
  stream.waitFor(other);
}

/** Every call that takes options, and one option of each. */
const callsWithOptions: readonly (readonly [
  name: string,
  option: string,
  call: (options: unknown) => unknown,
])[] = [
  [
    "createMemoryManagers",
    "pinnedMemoryPoolByteSize",
    (options) => createMemoryManagers(untyped(options)),
  ],
  [
    "CudaMemoryManager.create",
    "memoryPoolByteSize",
    (options) => CudaMemoryManager.create(untyped(options)),
  ],
  [
    "PinnedMemoryManager.create",
    "pinnedMemoryPoolByteSize",
    (options) => PinnedMemoryManager.create(untyped(options)),
  ],
  [
    "PinnedMemoryManager.alloc",
    "allowNonpinnedFallback",
    (options) => PinnedMemoryManager.alloc(8, untyped(options)),
  ],
  [
    "new AllocatedMemory",
    "stream",
    (options) => new AllocatedMemory(8, "CPU", 0, untyped(options)),
  ],
  [
    "copyBuffer",
    "byteSize",
    (options) => {
      using target = new AllocatedMemory(8, "CPU");
      using source = new AllocatedMemory(8, "CPU");
      return copyBuffer(target, source, untyped(options));
    },
  ],
  [
    "writeAsync",
    "stream",
    async (options) => {
      using memory = new AllocatedMemory(8, "CPU");
      await memory.writeAsync(bytes, 0, untyped(options));
    },
  ],
  [
    "readAsync",
    "stream",
    async (options) => {
      using memory = new AllocatedMemory(8, "CPU");
      await memory.readAsync(bytes, 0, untyped(options));
    },
  ],
  ...(["writeAsync", "readAsync"] as const).map(
    (way) =>
      [
        way,
        "signal",
        async (options: unknown) => {
          using memory = new AllocatedMemory(8, "CPU");
          await memory[way](bytes, 0, untyped(options));
        },
      ] as const,
  ),
  [
    "finished",
    "signal",
    async (options) => {
      using stream = new CudaStream(gpus[0]);
      await stream.finished(untyped(options));
    },
  ],
];

/** The message with which a call refuses what it was given, whether it throws or rejects. */
async function refusalOf(call: () => unknown): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers();
  try {
    Promise.resolve(call()).then(resolve, reject);
  } catch (error) {
    reject(error);
  }
  const { name, code, message } = await rejectionOf(promise);
  expect([name, code]).toEqual(["MemoryError", "INVALID_ARG"]);
  expect(message.length).toBeLessThan(1500);
  return message;
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

const throwing = (name: string, thrown: unknown = new Error("no")) =>
  Object.defineProperty({}, name, {
    enumerable: true,
    get() {
      throw thrown;
    },
  });

describe.each(callsWithOptions)("the options of %s", (operation, option, call) => {
  test("an option that there is not is refused by its name", async () => {
    for (const unknown of ["alignment", `${option}s`, "", "constructor", "toString", "0"]) {
      for (const options of [
        { [unknown]: 4096 },
        { [unknown]: undefined },
        Object.create({ [unknown]: 4096 }),
      ]) {
        const message = await refusalOf(() => call(options));
        // An inherited name that every object has is not told from the one that it has already.
        expect(message).toStartWith(`${operation}: there is no option "${unknown}"`);
        expect(message).toContain(option);
        if (unknown in Object.prototype) break;
      }
    }
  });

  test("a long name is repeated only in part", async () => {
    await refusalOf(() => call({ ["x".repeat(1 << 20)]: 1 }));
    const message = await refusalOf(() =>
      call({ [`${"x".repeat(99)}${"\u{1F600}".repeat(1 << 19)}`]: 1 }),
    );
    expect(message).toContain(`"${"x".repeat(99)}"...`);
  });

  test("something else than options is refused", async () => {
    using memory = new AllocatedMemory(8, "CPU");
    for (const options of [null, 1, "x", true, () => {}, Symbol("s"), [], new Map()]) {
      expect(await refusalOf(() => call(options))).toStartWith(`${operation}: options must be`);
    }
    for (const options of [["--port"], memory]) await refusalOf(() => call(options));
  });

  test("options that cannot be read are refused", async () => {
    for (const options of [
      revoked({}),
      throwing(option),
      throwing(option, Object.create(null)),
      throwing(option, undefined),
      throwing(option, "x".repeat(1 << 20)),
      throwing(option, throwing("message")),
      new Proxy(
        {},
        {
          ownKeys() {
            throw new TypeError("no keys");
          },
        },
      ),
    ]) {
      expect(await refusalOf(() => call(options))).toStartWith(
        `${operation}: options cannot be read: `,
      );
    }
  });

  test("an option of the wrong kind is refused", async () => {
    for (const value of [null, Symbol("s"), "x".repeat(1 << 20), revoked({}), revoked([])]) {
      expect(await refusalOf(() => call({ [option]: value }))).toStartWith(operation);
    }
  });

  test("an option that is undefined is one that is left out", async () => {
    if (operation === "PinnedMemoryManager.alloc") PinnedMemoryManager.create();
    await call({ [option]: undefined });
    await call(Object.assign(Object.create(null), { [option]: undefined }));
    class Options {
      [option] = undefined;
    }
    await call(new Options());
  });
});

test("options are read once", () => {
  let readCount = 0;
  CudaMemoryManager.create({
    get minSupportedComputeCapability() {
      return readCount++ === 0 ? 7 : NaN;
    },
  });
  expect(readCount).toBe(1);
});

test("sizes of pools are refused where they cannot be read", async () => {
  const record = (record: unknown) => () =>
    createMemoryManagers({ cudaMemoryPoolByteSize: untyped(record) });
  const operation = "createMemoryManagers: cudaMemoryPoolByteSize";
  for (const sizes of [revoked({}), throwing("0")]) {
    expect(await refusalOf(record(sizes))).toStartWith(`${operation} cannot be read: `);
  }
  for (const key of ["-0", "00", "01", "1.0", "1e0", " 1", "0x1", "9".repeat(1 << 20)]) {
    expect(await refusalOf(record({ [key]: 1 }))).toContain("a key of cudaMemoryPoolByteSize");
  }
  const { runInNewContext } = await import("node:vm");
  createMemoryManagers({ cudaMemoryPoolByteSize: runInNewContext("({ 0: 0 })") });
});

test("-0 is no GPU", () => {
  createMemoryManagers();
  const { pointer } = PinnedMemoryManager.alloc(8);
  for (const action of [
    () => CudaMemoryManager.alloc(8, -0),
    () => CudaMemoryManager.free(pointer, -0),
    () => CudaMemoryManager.stats(-0),
    () => new AllocatedMemory(8, "GPU", -0),
    () => new AllocatedMemory(0, "GPU", -0),
    () => new AllocatedMemory(8, "CPU", -0, {}),
    () => new CudaStream(-0),
    () => CudaStream.from(0 as Pointer, -0),
  ]) {
    expect(expectMemoryError("INVALID_ARG", action)).toContain("0, 1, 2 ..., got -0");
  }
  expectMemoryError("INVALID_ARG", () => parseMemoryOptions(["--cuda-memory-pool-byte-size=-0:1"]));
});

test("-0 bytes are no bytes", () => {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: -0 });
  expect(PinnedMemoryManager.totalByteSize).toBe(0);
  expect(new AllocatedMemory(-0, "CPU").totalByteSize).toBe(0);
  expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.alloc(-0));
  expectMemoryError("INVALID_ARG", () => pointerAttributes(-0 as Pointer));
});

describe("an argument that is no argument", () => {
  const values: readonly unknown[] = [
    revoked({}),
    revoked([]),
    revoked(() => {}),
    Symbol("s".repeat(1 << 20)),
    "x".repeat(1 << 20),
    10n ** 100_000n,
    Object.create(null),
    Array.from({ length: 1 << 20 }),
    () => {},
    { valueOf: () => 8, toString: undefined },
  ];

  test.each<[name: string, call: (value: unknown) => unknown]>([
    ["new AllocatedMemory", (value) => new AllocatedMemory(untyped(value), "CPU")],
    ["memoryType", (value) => new AllocatedMemory(8, untyped(value))],
    ["memoryTypeId", (value) => new AllocatedMemory(8, "GPU", untyped(value))],
    ["CudaMemoryManager.alloc", (value) => CudaMemoryManager.alloc(untyped(value), 0)],
    ["CudaMemoryManager.free", (value) => CudaMemoryManager.free(untyped(value), 0)],
    ["CudaMemoryManager.stats", (value) => CudaMemoryManager.stats(untyped(value))],
    ["PinnedMemoryManager.alloc", (value) => PinnedMemoryManager.alloc(untyped(value))],
    ["PinnedMemoryManager.free", (value) => PinnedMemoryManager.free(untyped(value))],
    ["pointerAttributes", (value) => pointerAttributes(untyped(value))],
    ["getSupportedGpus", (value) => getSupportedGpus(untyped(value))],
    ["parseMemoryOptions", (value) => parseMemoryOptions(untyped(value))],
    ["setLogger", (value) => setLogger(untyped(value))],
    ["new CudaStream", (value) => new CudaStream(untyped(value))],
    ["CudaStream.from", (value) => CudaStream.from(untyped(value), 0)],
    ["a GPU of CudaStream.from", (value) => CudaStream.from(0 as Pointer, untyped(value))],
    ["waitFor", (value) => waitForOther(untyped(value))],
    ["copyBuffer", (value) => copyBuffer(untyped(value), untyped(value))],
    ["write", (value) => new AllocatedMemory(0, "CPU").write(untyped(value))],
    ["writeAsync", (value) => new AllocatedMemory(0, "CPU").writeAsync(untyped(value))],
    ["read", (value) => new AllocatedMemory(0, "CPU").read(untyped(value))],
    ["fill", (value) => new AllocatedMemory(0, "CPU").fill(untyped(value))],
    ["free", (value) => new AllocatedMemory(0, "CPU").free(untyped(value))],
    ["free of several", (value) => new AllocatedMemory(0, "CPU").free(untyped([value]))],
    ["bufferAt", (value) => new AllocatedMemory(0, "CPU").bufferAt(untyped(value))],
  ])("is refused by %s", async (_, call) => {
    for (const value of values) await refusalOf(() => call(value));
    expect(logged.error).toEqual([]);
  });
});
