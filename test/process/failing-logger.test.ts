import { expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

test("a logger that throws loses neither memory nor the message", () => {
  const [counts, stderr] = runWithPackage(simulator, async (memory) => {
    const { AllocatedMemory, CudaMemoryManager, nonpinnedCount, setLogger } = memory;
    const said: string[] = [];
    console.error = (message: string) => void said.push(message);
    const fail = () => {
      throw new Error("out of ink");
    };
    setLogger({ info: fail, warn: fail, error: fail });
    CudaMemoryManager.create();
    const kept = new AllocatedMemory(600, "GPU", 0);
    const live = [kept.memoryType, nonpinnedCount()];
    kept.free();
    for (let i = 0; i < 50; i++) new AllocatedMemory(600, "GPU", 0);
    for (let i = 0; i < 100 && nonpinnedCount() > 2; i++) {
      Bun.gc(true);
      await Bun.sleep(2);
    }
    return [[...live, nonpinnedCount()], said] as const;
  });
  expect(counts.slice(0, 2)).toEqual(["CPU", 1]);
  expect(counts[2]).toBeLessThanOrEqual(2); // the collector is conservative
  expect(stderr.join("\n")).toContain(
    "the logger failed with Error: out of ink at: bun-cuda-memory: failed to",
  );
  expect(stderr.join("\n")).toContain("an AllocatedMemory of 600 bytes (CPU 0) was never freed");
});

test("whatever a logger throws, or rejects with, is caught and shown with the message", () => {
  const said = runWithPackage(simulator, async ({ AllocatedMemory, setLogger }) => {
    const get = () => {
      throw new Error("no message");
    };
    const unprintable = Object.defineProperty(Object.create(null), "message", { get });
    const hostileError = Object.defineProperty(new Error("x"), "message", { get });
    const then = ["th", "en"].join("");
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const throwing = (thrown: unknown) => () => {
      throw thrown;
    };
    const loggers: ((message: string) => unknown)[] = [
      throwing(Object.create(null)),
      throwing(unprintable),
      throwing(hostileError),
      throwing(undefined),
      throwing(Symbol("s")),
      throwing(proxy),
      throwing("x".repeat(1 << 20)),
      async () => throwing(Object.create(null))(),
      async () => throwing(hostileError)(),
      () => Promise.reject(new Error("later")),
      () => Object.defineProperty({}, then, { value: throwing(new Error("no then")) }),
      () => Object.defineProperty({}, then, { get }),
      () => proxy,
      () => new AllocatedMemory(2 ** 52, "CPU"), // which has something to say itself
    ];
    const consoleError = console.error;
    const said: string[][] = [];
    for (const fail of loggers) {
      const lines: string[] = [];
      console.error = (message: string) => void lines.push(message);
      setLogger({ info: fail, warn: fail, error: fail });
      new AllocatedMemory(2 ** 52, "CPU").free();
      for (let i = 0; i < 5; i++) await Bun.sleep(0);
      said.push(lines);
    }
    console.error = throwing("no console either") as typeof console.error;
    new AllocatedMemory(2 ** 52, "CPU").free();
    console.error = consoleError;
    return said;
  });
  for (const [index, lines] of said.entries()) {
    expect({ index, count: lines.length }).toEqual({ index, count: 1 });
    expect(lines[0]).toStartWith("bun-cuda-memory: ");
    expect(lines[0]).toContain("4503599627370496 bytes");
    expect(lines[0]!.length).toBeLessThan(2500);
  }
});

test("a logger with getters is read each time, and what they throw is caught", () => {
  const [messages, errors] = runWithPackage(simulator, ({ AllocatedMemory, setLogger }) => {
    const messages: string[] = [];
    const errors: string[] = [];
    console.error = (message: string) => void errors.push(message);
    let readCount = 0;
    setLogger({
      info() {},
      warn() {},
      get error() {
        readCount++;
        if (readCount === 2) throw new Error("not now");
        return (message: string) => void messages.push(message);
      },
    });
    new AllocatedMemory(2 ** 52, "CPU").free();
    new AllocatedMemory(2 ** 52, "CPU").free();
    return [messages, errors] as const;
  });
  expect(messages).toHaveLength(1);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toStartWith(
    "bun-cuda-memory: the logger failed with Error: not now at: bun-cuda-memory: ",
  );
});

test("messages begin with the package's name, on the console too", () => {
  const [logged, printed] = runWithPackage(simulator, async (memory) => {
    memory.createMemoryManagers({ pinnedMemoryPoolByteSize: 1024 });
    new memory.AllocatedMemory(2048, "CPU_PINNED").free();
    new memory.AllocatedMemory(2 ** 52, "CPU").free();
    const program = `
      const { AllocatedMemory } = await import(process.env.PACKAGE);
      new AllocatedMemory(512, "GPU").free();
      new AllocatedMemory(2 ** 52, "GPU").free();
    `;
    const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", program], {
      env: { ...process.env, PACKAGE: Bun.resolveSync("./src/index.ts", process.cwd()) },
    });
    return [memory.logged, `${stdout}${stderr}`.trim().split("\n")] as const;
  });
  expect(new Set(logged.map(([level]) => level))).toEqual(new Set(["info", "warn", "error"]));
  expect(printed).toHaveLength(3);
  for (const message of [...logged.map(([, text]) => text), ...printed]) {
    expect(message).toMatch(/^bun-cuda-memory: (?!bun-cuda-memory)/);
  }
});
