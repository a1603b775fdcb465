import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { AllocatedMemory } from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import type { ServiceStats } from "../../examples/tensor-service/tensor-service.ts";
import { logged, patternBytes, resetAfterEach } from "../support/memory.ts";
import { resultOf, spawnBody } from "../support/process.ts";
import { serviceProgramPath, ServiceProcess } from "./service-process.ts";
import type * as serviceUnderTest from "./service-under-test.ts";
import { eventually, ServiceUnderTest } from "./service-under-test.ts";

resetAfterEach();

const KiB = 1024;
const MiB = 1024 ** 2;
const isSimulated = process.env["BUN_CUDA_MEMORY_CUDART"] === simulatorLibraryPath;

async function errorOf(response: Response): Promise<string> {
  const { error } = (await response.json()) as { error: string };
  return error;
}

describe("a tensor", () => {
  // Around the size of a piece, and several times as much.
  test.each([1, 511, MiB - 1, MiB, MiB + 1, 5 * MiB + 7])(
    "of %d bytes comes back as it was sent",
    async (byteSize) => {
      await using under = new ServiceUnderTest();
      const bytes = patternBytes(byteSize);
      const put = await under.put("a", bytes);
      expect(put.status).toBe(201);
      expect(await put.json()).toEqual({ name: "a", byteSize, memoryType: "GPU", memoryTypeId: 0 });
      expect(Bun.deepEquals(await under.get("a"), bytes)).toBe(true);
      expect(under.usedByteSizes()).toEqual({ cuda: Math.ceil(byteSize / 512) * 512, pinned: 0 });
    },
  );

  test("may be empty", async () => {
    await using under = new ServiceUnderTest();
    const put = await under.put("empty", new Uint8Array());
    expect(put.status).toBe(201);
    expect(await put.json()).toMatchObject({ byteSize: 0 });
    const get = await under.request("GET", "tensors/empty");
    expect([get.status, get.headers.get("content-length")]).toEqual([200, "0"]);
    expect(await get.bytes()).toEqual(new Uint8Array());
  });

  test("is described by the headers of GET and HEAD", async () => {
    await using under = new ServiceUnderTest();
    await under.put("small", patternBytes(1000));
    await under.put("large", patternBytes(3 * MiB));
    const described = { "x-memory-type": "GPU", "x-memory-type-id": "0" };
    const type = { "content-type": "application/octet-stream" };
    for (const [name, byteSize] of [
      ["small", "1000"],
      ["large", String(3 * MiB)],
    ] as const) {
      for (const method of ["GET", "HEAD"]) {
        const response = await under.request(method, `tensors/${name}`);
        expect(response.status).toBe(200);
        expect(response.headers.toJSON()).toMatchObject({
          ...described,
          ...type,
          "x-byte-size": byteSize,
        });
        const bytes = await response.bytes();
        expect(bytes.byteLength).toBe(method === "GET" ? Number(byteSize) : 0);
        // Bun sends a streamed body in HTTP chunks.
        const isStreamed = name === "large" && method === "GET";
        if (!isStreamed) expect(response.headers.get("content-length")).toBe(byteSize);
      }
    }
  });

  test("is replaced, and its memory freed", async () => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(2 * MiB, 1));
    const put = await under.put("a", patternBytes(1 * MiB, 2));
    expect([put.status, ((await put.json()) as { byteSize: number }).byteSize]).toEqual([200, MiB]);
    expect(Bun.deepEquals(await under.get("a"), patternBytes(MiB, 2))).toBe(true);
    expect(under.usedByteSizes()).toEqual({ cuda: MiB, pinned: 0 });
  });

  test("is deleted, and its memory freed", async () => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(MiB));
    const response = await under.request("DELETE", "tensors/a");
    expect([response.status, await response.text()]).toEqual([204, ""]);
    expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
    for (const method of ["GET", "HEAD", "DELETE"]) {
      expect((await under.request(method, "tensors/a")).status).toBe(404);
    }
  });

  test("falls back to pinned and then to plain memory, its bytes intact", async () => {
    await using under = new ServiceUnderTest({
      cudaByteSize: MiB,
      pinnedByteSize: MiB,
      pieceByteSize: 64 * KiB,
    });
    const landed: string[] = [];
    for (const name of ["a", "b", "c"]) {
      const put = await under.put(name, patternBytes(MiB, name.charCodeAt(0)));
      landed.push(((await put.json()) as { memoryType: string }).memoryType);
    }
    expect(landed).toEqual(["GPU", "CPU_PINNED", "CPU"]);
    for (const name of ["a", "b", "c"]) {
      expect(Bun.deepEquals(await under.get(name), patternBytes(MiB, name.charCodeAt(0)))).toBe(
        true,
      );
    }
    const each = { count: 1, byteSize: MiB };
    expect((await under.stats()).tensors).toEqual({
      count: 3,
      byteSize: 3 * MiB,
      byMemoryType: { GPU: each, CPU_PINNED: each, CPU: each },
    });
  });
});

test("statistics have the pools that exist, and the tensors", async () => {
  await using under = new ServiceUnderTest({ cudaByteSize: MiB, pinnedByteSize: 2 * MiB });
  await under.put("a", patternBytes(1000));
  const stats = await under.stats();
  expect(stats.cuda["0"]).toEqual({
    capacityByteSize: MiB,
    usedByteSize: 1024,
    peakUsedByteSize: 1024,
    freeByteSize: MiB - 1024,
    largestFreeByteSize: MiB - 1024,
    allocationCount: 1,
    failedAllocationCount: 0,
  });
  expect(stats.pinned).toMatchObject({ capacityByteSize: 2 * MiB, usedByteSize: 0 });
  expect(stats.tensors).toMatchObject({ count: 1, byteSize: 1000 });
  expect((await under.request("HEAD", "stats")).status).toBe(200);
});

describe("a request that is refused", () => {
  test.each(["", "a%20b", "a/b", "%61", "ü", "x".repeat(129)])("for its name: %p", async (name) => {
    await using under = new ServiceUnderTest();
    const response = await under.put(name, patternBytes(10));
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toContain("name");
  });

  test.each(["a", "A.b_c-9", "x".repeat(128)])("not for its name: %p", async (name) => {
    await using under = new ServiceUnderTest();
    expect((await under.put(name, patternBytes(10))).status).toBe(201);
  });

  test.each(["", "tensors", "stats/", "stats2", "other/a"])("for its path: %p", async (path) => {
    await using under = new ServiceUnderTest();
    const response = await under.request("GET", path);
    expect(response.status).toBe(404);
    expect(await errorOf(response)).toContain(path);
  });

  test("for its method", async () => {
    await using under = new ServiceUnderTest();
    for (const [path, allow] of [
      ["tensors/a", "GET, HEAD, PUT, DELETE"],
      ["stats", "GET, HEAD"],
    ] as const) {
      const response = await under.request("POST", path, "x");
      expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
      expect(await errorOf(response)).toContain(allow);
    }
  });

  test("for its lack of a Content-Length", async () => {
    await using under = new ServiceUnderTest();
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(patternBytes(3 * MiB));
        controller.close();
      },
    });
    const response = await under.request("PUT", "tensors/a", body);
    expect(response.status).toBe(411);
    expect(await errorOf(response)).toContain("Content-Length");
    expect((await under.stats()).tensors.count).toBe(0);
  });

  test("for its size, before its body is read", async () => {
    await using under = new ServiceUnderTest({ maxTensorByteSize: 1000 });
    expect((await under.put("a", patternBytes(1000))).status).toBe(201);
    const response = await under.put("a", patternBytes(1001));
    expect(response.status).toBe(413);
    expect(await errorOf(response)).toContain("1001");
    using client = await under.connect();
    client.send("PUT /tensors/a HTTP/1.1\nContent-Length: 1099511627776");
    expect(await client.statusLine()).toContain("413");
    expect(Bun.deepEquals(await under.get("a"), patternBytes(1000))).toBe(true);
  });

  test("because no memory can serve it", async () => {
    await using under = new ServiceUnderTest({ maxTensorByteSize: Number.MAX_SAFE_INTEGER });
    await under.put("a", patternBytes(1000));
    using client = await under.connect();
    client.send(`PUT /tensors/a HTTP/1.1\nContent-Length: ${2 ** 52}`);
    expect(await client.statusLine()).toContain("507");
    expect(logged.error).toHaveLength(1);
    expect(Bun.deepEquals(await under.get("a"), patternBytes(1000))).toBe(true);
    expect(under.usedByteSizes()).toEqual({ cuda: 1024, pinned: 0 });
  });

  test("but has no host that could be understood", async () => {
    await using under = new ServiceUnderTest();
    using client = await under.connect();
    client.send("GET /stats HTTP/1.1\nHost: [bad");
    expect(await client.statusLine()).toMatch(/ (200|400) /);
    expect((await under.request("GET", "stats")).status).toBe(200);
  });
});

describe("an upload that is cut off", () => {
  // The client goes away, or only says that no more will come.
  test.each(["close", "end"])("by %s leaves nothing", async (how) => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(1000));
    const before = under.usedByteSizes();
    using client = await under.connect();
    client.send(`PUT /tensors/a HTTP/1.1\nContent-Length: ${8 * MiB}`, patternBytes(3 * MiB));
    await eventually(() => under.usedByteSizes().cuda > 8 * MiB);
    // What came is stored: a client that stalls has nothing of the pinned pool.
    await eventually(() => under.usedByteSizes().pinned === 0);
    if (how === "close") client[Symbol.dispose]();
    else client.end();
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), before));
    expect(Bun.deepEquals(await under.get("a"), patternBytes(1000))).toBe(true);
    expect((await under.stats()).tensors.count).toBe(1);
  });

  test("because it stalls is disconnected", async () => {
    await using under = new ServiceUnderTest({ idleTimeoutSeconds: 1 });
    using client = await under.connect();
    client.send(`PUT /tensors/a HTTP/1.1\nContent-Length: ${MiB}`, patternBytes(1000));
    await eventually(() => under.usedByteSizes().cuda > 0);
    const deadline = performance.now() + 12_000; // Bun looks every few seconds
    while (!client.isClosed && performance.now() < deadline) await Bun.sleep(20);
    expect(client.isClosed).toBe(true);
    expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
  }, 15_000);

  test("by the end of the service", async () => {
    await using under = new ServiceUnderTest();
    using client = await under.connect();
    client.send(`PUT /tensors/a HTTP/1.1\nContent-Length: ${MiB}`, patternBytes(1000));
    await under.put("b", patternBytes(1000));
    await eventually(() => under.usedByteSizes().cuda > MiB);
    await under.service.stop();
    expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
    expect(under.service.stats().tensors.count).toBe(0);
    await eventually(() => client.isClosed);
  });
});

/** A download whose client takes nothing after the first bytes. */
async function stalledDownload(under: ServiceUnderTest, name = "a") {
  const client = await under.connect();
  client.send(`GET /tensors/${name} HTTP/1.1`);
  await eventually(() => client.receivedByteSize > 0);
  client.pause();
  return client;
}

describe("a download", () => {
  const byteSize = 32 * MiB; // more than the network holds back

  test("whose client goes away keeps nothing", async () => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(byteSize));
    using client = await stalledDownload(under);
    await under.request("DELETE", "tensors/a");
    expect(under.usedByteSizes().cuda).toBe(byteSize);
    client[Symbol.dispose]();
    await eventually(() => under.usedByteSizes().cuda === 0);
  });

  test.each(["deleted", "replaced"])("of a tensor that is %s gets the old bytes", async (how) => {
    await using under = new ServiceUnderTest();
    const bytes = patternBytes(byteSize);
    await under.put("a", bytes);
    using client = await stalledDownload(under);
    if (how === "deleted") {
      expect((await under.request("DELETE", "tensors/a")).status).toBe(204);
      expect((await under.request("GET", "tensors/a")).status).toBe(404);
    } else {
      expect((await under.put("a", patternBytes(512, 2))).status).toBe(200);
      expect(Bun.deepEquals(await under.get("a"), patternBytes(512, 2))).toBe(true);
    }
    const newByteSize = how === "deleted" ? 0 : 512;
    expect(under.usedByteSizes().cuda).toBe(byteSize + newByteSize);
    client.resume();
    await eventually(() => client.isChunkedBodyDone);
    expect(Bun.deepEquals(new Uint8Array(client.chunkedBody), bytes)).toBe(true);
    expect(under.usedByteSizes()).toEqual({ cuda: newByteSize, pinned: 0 });
  });

  test("by two clients of a deleted tensor keeps it until both are done", async () => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(byteSize));
    using one = await stalledDownload(under);
    using other = await stalledDownload(under);
    await under.request("DELETE", "tensors/a");
    one[Symbol.dispose]();
    await Bun.sleep(50); // for the service to notice
    expect(under.usedByteSizes().cuda).toBe(byteSize);
    other[Symbol.dispose]();
    await eventually(() => under.usedByteSizes().cuda === 0);
  });
});

test("the end of the service ends a download that stalls, and one of a deleted tensor", async () => {
  await using under = new ServiceUnderTest();
  await under.put("a", patternBytes(24 * MiB));
  await under.put("b", patternBytes(24 * MiB));
  using one = await stalledDownload(under, "a");
  using other = await stalledDownload(under, "b");
  await under.request("DELETE", "tensors/b");
  await under.service.stop();
  expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
  for (const client of [one, other]) {
    client.resume();
    await eventually(() => client.isClosed);
    expect(client.isChunkedBodyDone).toBe(false);
  }
});

test("20 uploads at once, then 20 downloads", async () => {
  // Some fit the CUDA pool, some the pinned pool, the others neither.
  await using under = new ServiceUnderTest({ cudaByteSize: 8 * MiB, pinnedByteSize: 8 * MiB });
  const tensors = Array.from({ length: 20 }, (_, seed) => ({
    name: `t${seed}`,
    bytes: patternBytes(MiB + seed * 12_345, seed),
  }));
  const puts = await Promise.all(tensors.map(({ name, bytes }) => under.put(name, bytes)));
  expect(puts.map(({ status }) => status)).toEqual(Array(20).fill(201));
  const { byMemoryType, count } = (await under.stats()).tensors;
  expect(count).toBe(20);
  expect(byMemoryType.GPU.count).toBeGreaterThan(0);
  expect(byMemoryType.CPU.count).toBeGreaterThan(0);
  const received = await Promise.all(tensors.map(({ name }) => under.get(name)));
  const same = received.map((bytes, index) => Bun.deepEquals(bytes, tensors[index]!.bytes));
  expect(same).toEqual(Array(20).fill(true));
  await Promise.all(tensors.map(({ name }) => under.request("DELETE", `tensors/${name}`)));
  expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
});

test.each(["full", "none"])("with a pinned pool that is %s, bytes come and go", async (pinned) => {
  const pinnedByteSize = pinned === "full" ? 2 * MiB : 0;
  await using under = new ServiceUnderTest({ pinnedByteSize });
  using _all = new AllocatedMemory(pinnedByteSize, "CPU_PINNED");
  const bytes = patternBytes(5 * MiB + 7);
  expect((await under.put("a", bytes)).status).toBe(201);
  expect(Bun.deepEquals(await under.get("a"), bytes)).toBe(true);
  expect((await under.stats()).tensors.byMemoryType.GPU.count).toBe(1);
});

test("of uploads of one name at once, one is stored and the others are freed", async () => {
  await using under = new ServiceUnderTest();
  const puts = await Promise.all(
    Array.from({ length: 8 }, (_, seed) => under.put("a", patternBytes(MiB, seed))),
  );
  const statuses = puts.map(({ status }) => status).sort();
  expect(statuses).toEqual([200, 200, 200, 200, 200, 200, 200, 201]);
  expect(under.usedByteSizes()).toEqual({ cuda: MiB, pinned: 0 });
});

describe.skipIf(!isSimulated)("while a GPU copies", () => {
  afterEach(() => CudartSimulator.setDelay({}));

  test("64 uploads, the event loop goes on", async () => {
    // With `write` in place of `writeAsync` no look at the event loop would come sooner than a copy.
    const copyMilliseconds = 20;
    await using under = new ServiceUnderTest();
    CudartSimulator.setDelay({ operationNs: copyMilliseconds * 1e6 });
    const tensors = Array.from({ length: 64 }, (_, seed) => patternBytes(256 * KiB, seed));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const puts = await Promise.all(tensors.map((bytes, index) => under.put(`t${index}`, bytes)));
    delay.disable();
    CudartSimulator.setDelay({});
    expect(puts.map(({ status }) => status)).toEqual(Array(64).fill(201));
    expect(delay.percentile(90) / 1e6).toBeLessThan(copyMilliseconds);
    for (const [index, bytes] of tensors.entries()) {
      expect(Bun.deepEquals(await under.get(`t${index}`), bytes)).toBe(true);
    }
  });

  // The memory may not be another's as long as the GPU writes to it, or reads from it.
  test.each(["upload", "download"])("an %s whose client goes away, it is kept", async (what) => {
    await using under = new ServiceUnderTest();
    if (what === "download") await under.put("a", patternBytes(2 * MiB));
    CudartSimulator.setDelay({ operationNs: 300e6 });
    using client = await under.connect();
    const length = `Content-Length: ${2 * MiB}`;
    if (what === "upload") client.send(`PUT /tensors/a HTTP/1.1\n${length}`, patternBytes(MiB));
    else client.send("GET /tensors/a HTTP/1.1");
    await eventually(() => under.usedByteSizes().pinned > 0); // the GPU is at it
    client[Symbol.dispose]();
    if (what === "download") await under.request("DELETE", "tensors/a");
    await Bun.sleep(50); // for the service to notice
    expect(under.usedByteSizes().cuda).toBe(2 * MiB);
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), { cuda: 0, pinned: 0 }));
    expect((await under.stats()).tensors.count).toBe(0);
  });

  // While it reads the first piece, and a later one.
  test.each([30, 250])("the end of the service waits %d ms into a download", async (wait) => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(8 * MiB));
    CudartSimulator.setDelay({ operationNs: 100e6 });
    using client = await under.connect();
    client.send("GET /tensors/a HTTP/1.1");
    await Bun.sleep(wait);
    await under.service.stop();
    expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
  });
});

describe.skipIf(!isSimulated)("where CUDA fails", () => {
  // At the call, or later, when the GPU does what it was asked for.
  const failures = [
    ["at once", (nth: number) => failCopyCall(nth)],
    ["later", (nth: number) => CudartSimulator.failOperation({ nth, error: "cudaErrorUnknown" })],
  ] as const;

  function failCopyCall(nth: number): void {
    CudartSimulator.failCall({ function: "cudaMemcpyAsync", nth, error: "cudaErrorUnknown" });
  }

  test.each(failures)(
    "%s, an upload is answered with the error, and the old tensor stays",
    async (_when, fail) => {
      await using under = new ServiceUnderTest();
      using consoleError = spyOn(console, "error").mockImplementation(() => {});
      await under.put("a", patternBytes(1000));
      fail(2);
      const response = await under.put("a", patternBytes(3 * MiB));
      expect(response.status).toBe(500);
      expect(await errorOf(response)).toContain("cudaErrorUnknown");
      expect(consoleError).toHaveBeenCalledTimes(1);
      expect(Bun.deepEquals(await under.get("a"), patternBytes(1000))).toBe(true);
      expect(under.usedByteSizes()).toEqual({ cuda: 1024, pinned: 0 });
    },
  );

  test.each(failures)("%s, a download is answered with the error", async (_when, fail) => {
    await using under = new ServiceUnderTest();
    using _quiet = spyOn(console, "error").mockImplementation(() => {});
    await under.put("a", patternBytes(3 * MiB));
    fail(1);
    const response = await under.request("GET", "tensors/a");
    expect(response.status).toBe(500);
    expect(await errorOf(response)).toContain("cudaErrorUnknown");
    expect(under.usedByteSizes()).toEqual({ cuda: 3 * MiB, pinned: 0 });
    expect(Bun.deepEquals(await under.get("a"), patternBytes(3 * MiB))).toBe(true);
  });

  test("a download that has begun is broken off, not ended short", () => {
    // In a process of its own: Bun prints the error that breaks a stream off.
    const download = async ({ CudartSimulator, ServiceUnderTest }: typeof serviceUnderTest) => {
      await using under = new ServiceUnderTest();
      await under.put("a", new Uint8Array(3 * 1024 ** 2));
      CudartSimulator.failCall({ function: "cudaMemcpyAsync", nth: 2, error: "cudaErrorUnknown" });
      const response = await under.request("GET", "tensors/a");
      const outcome = await response.bytes().then(
        () => "all came",
        () => "broken off",
      );
      await under.request("DELETE", "tensors/a");
      return { status: response.status, outcome, used: under.usedByteSizes() };
    };
    const modulePath = join(import.meta.dir, "service-under-test.ts");
    const result: unknown = resultOf(spawnBody(modulePath, download, {}));
    expect(result).toEqual({ status: 200, outcome: "broken off", used: { cuda: 0, pinned: 0 } });
  });
});

describe("the service's process", () => {
  const byteSize = 256 * MiB;
  // Much more than what the service needs, much less than a body.
  const growthByteSizeMax = 64 * MiB;

  function residentByteSize(pid: number): number {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]) * KiB;
  }

  /** How much larger a process was at some time while `action` ran than before. */
  async function growthByteSize(pid: number, action: () => Promise<void>): Promise<number> {
    const before = residentByteSize(pid);
    let most = before;
    const timer = setInterval(() => (most = Math.max(most, residentByteSize(pid))), 5);
    try {
      await action();
    } finally {
      clearInterval(timer);
    }
    return most - before;
  }

  test("is no larger for a large tensor, however slow the GPU", async () => {
    const path = join(tmpdir(), `tensor-${process.pid}`);
    await using _file = { [Symbol.asyncDispose]: () => Bun.file(path).delete() };
    writeFileSync(path, "");
    truncateSync(path, byteSize); // zeros that take no room
    await using child = new ServiceProcess(["--cuda-memory-pool-byte-size", `0:${byteSize}`], {
      CUDART_SIM_NS_PER_BYTE: "2", // slower than the network: 500 MB/s
    });
    const url = `${await child.url()}tensors/a`;
    const put = async () => {
      const response = await fetch(url, { method: "PUT", body: Bun.file(path) });
      expect(await response.json()).toMatchObject({ byteSize, memoryType: "GPU" });
    };
    const get = async () => {
      let receivedByteSize = 0;
      for await (const chunk of (await fetch(url)).body!) receivedByteSize += chunk.byteLength;
      expect(receivedByteSize).toBe(byteSize);
    };
    // The simulated GPU's memory is the process's too, and must not be taken for growth.
    await put();
    await fetch(url, { method: "DELETE" });
    expect(await growthByteSize(child.pid, put)).toBeLessThan(growthByteSizeMax);
    expect(await growthByteSize(child.pid, get)).toBeLessThan(growthByteSizeMax);
  }, 30_000);
});

describe("run directly", () => {
  test("it prints its address, serves, and ends when it is told to", async () => {
    await using child = new ServiceProcess(["--cuda-memory-pool-byte-size", "0:1MiB"]);
    const stats = (await (await fetch(`${await child.url()}stats`)).json()) as ServiceStats;
    expect(stats.cuda["0"]!.capacityByteSize).toBe(MiB);
    expect(await child.end()).toBe(0);
  });

  test.each([
    ["--cuda-memory-pool-byte-size", "0:64XB"],
    ["--port", "http"],
    ["--prt", "1"],
  ])("it refuses %s %s", (option, value) => {
    const argv = [process.execPath, serviceProgramPath, option!, value!];
    const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
    expect([exitCode, stdout.toString()]).toEqual([2, ""]);
    expect(stderr.toString()).toContain(option!);
    expect(stderr.toString().trim().split("\n")).toHaveLength(1);
  });
});
