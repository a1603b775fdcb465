// No operation on no memory is silent: whether it was freed, detached, never got, or went with its
// manager, each says which. A memory of 0 bytes that was asked for is none of these.

import { describe, expect, test } from "bun:test";
import { AllocatedMemory, copyBuffer, PinnedMemoryManager } from "../../src/index.ts";
import { expectMemoryError, rejectionOf } from "../support/expectations.ts";
import { resetAfterEach } from "../support/runtime.ts";
import { createManagers, memoryOf } from "./memories.ts";

resetAfterEach();

const bytes = new Uint8Array(4);

/** Every operation, named, that works on a memory. */
const operations: Record<string, (memory: AllocatedMemory, other: AllocatedMemory) => unknown> = {
  write: (memory) => memory.write(bytes),
  read: (memory) => memory.read(bytes),
  "write of nothing": (memory) => memory.write(new Uint8Array(0)),
  "read of nothing": (memory) => memory.read(new Uint8Array(0)),
  fill: (memory) => memory.fill(1),
  bytes: (memory) => memory.bytes,
  detach: (memory) => memory.detach(),
  "copyBuffer to it": (memory, other) => copyBuffer(memory, other),
  "copyBuffer from it": (memory, other) => copyBuffer(other, memory),
  "copyBuffer of nothing": (memory, other) => copyBuffer(other, memory, { byteSize: 0 }),
};

const promises: Record<string, (memory: AllocatedMemory) => Promise<unknown>> = {
  writeAsync: (memory) => memory.writeAsync(bytes),
  readAsync: (memory) => memory.readAsync(bytes),
  "writeAsync of nothing": (memory) => memory.writeAsync(new Uint8Array(0)),
  holdUntil: (memory) => memory.holdUntil(Promise.resolve()),
};

const kinds: Record<string, { make: () => AllocatedMemory; says: string }> = {
  freed: {
    make: () => {
      const memory = memoryOf("CPU_PINNED", 16);
      memory.free();
      return memory;
    },
    says: "was freed",
  },
  "freed with a view": {
    make: () => {
      const memory = memoryOf("CPU_PINNED", 16);
      void memory.bytes;
      memory[Symbol.dispose]();
      return memory;
    },
    says: "was freed",
  },
  detached: {
    make: () => {
      const memory = memoryOf("CPU_PINNED", 16);
      memory.detach();
      return memory;
    },
    says: "was detached",
  },
  "never got": {
    make: () => new AllocatedMemory(2 ** 50, "CPU"),
    says: "was never got",
  },
};

describe.each(Object.entries(kinds))("memory that is %s", (_, { make, says }) => {
  test.each(Object.entries(operations))("%s says so", (_operation, run) => {
    createManagers();
    using other = memoryOf("CPU_PINNED", 16);
    const memory = make();
    expect(expectMemoryError("UNAVAILABLE", () => run(memory, other))).toContain(says);
  });

  test.each(Object.entries(promises))("%s says so", async (_operation, run) => {
    createManagers();
    const error = await rejectionOf(run(make()));
    expect(error).toMatchObject({ code: "UNAVAILABLE" });
    expect(error.message).toContain(says);
  });

  test("can be freed", () => {
    createManagers();
    const memory = make();
    memory.free();
    memory[Symbol.dispose]();
    expect([memory.totalByteSize, memory.bufferCount, memory.pointer]).toEqual([0, 0, null]);
  });
});

test("a memory of 0 bytes may be worked on", async () => {
  createManagers();
  using empty = new AllocatedMemory(0, "CPU_PINNED");
  using other = memoryOf("CPU_PINNED", 16);
  empty.write(new Uint8Array(0));
  empty.read(new Uint8Array(0));
  empty.fill(3);
  expect(empty.bytes).toHaveLength(0);
  expect(copyBuffer(other, empty)).toBe(false);
  await empty.writeAsync(new Uint8Array(0));
  await empty.holdUntil(Promise.resolve());
  using attached = AllocatedMemory.attach(empty.detach());
  expect(attached.totalByteSize).toBe(0);
  expectMemoryError("UNAVAILABLE", () => empty.fill(3));
});

test("memory whose manager was reset says so", async () => {
  createManagers();
  const memory = memoryOf("CPU_PINNED", 16);
  const other = memoryOf("CPU_PINNED", 16);
  PinnedMemoryManager.reset();
  for (const run of Object.values(operations)) {
    if (run === operations["write of nothing"] || run === operations["read of nothing"]) continue;
    if (run === operations["copyBuffer of nothing"]) continue;
    expect(expectMemoryError("UNAVAILABLE", () => run(memory, other))).toContain("reset");
  }
});
