import { describe, expect, test } from "bun:test";
import { logged, resetAfterEach } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { errorOf, ServiceUnderTest } from "./service-under-test.ts";

resetAfterEach();

const KiB = 1024;
const MiB = 1024 ** 2;

describe("a tensor", () => {
  // Sizes around that of a piece, and several pieces.
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
    setAsideByteSize: 0,
    detachedByteSize: 0,
    waitingCount: 0,
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
