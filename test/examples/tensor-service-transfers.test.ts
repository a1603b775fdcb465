import { describe, expect, test } from "bun:test";
import { AllocatedMemory } from "../../src/index.ts";
import { resetAfterEach } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { eventually, ServiceUnderTest } from "./service-under-test.ts";

resetAfterEach();

const MiB = 1024 ** 2;

describe("an upload that is cut off", () => {
  // The client closes the connection, or only its sending side.
  test.each(["close", "end"])("by %s leaves nothing", async (how) => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(1000));
    const before = under.usedByteSizes();
    using client = await under.connect();
    client.send(`PUT /tensors/a HTTP/1.1\nContent-Length: ${8 * MiB}`, patternBytes(3 * MiB));
    await eventually(() => under.usedByteSizes().cuda > 8 * MiB);
    // The bytes so far are stored on the GPU: a client that stalls holds no pinned memory.
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
    // Bun checks for idle connections every few seconds only.
    const deadline = performance.now() + 12_000;
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

/** A download whose client reads nothing after the first bytes. */
async function stalledDownload(under: ServiceUnderTest, name = "a") {
  const client = await under.connect();
  client.send(`GET /tensors/${name} HTTP/1.1`);
  await eventually(() => client.receivedByteSize > 0);
  client.pause();
  return client;
}

describe("a download", () => {
  const byteSize = 32 * MiB; // more than the network buffers

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
    await Bun.sleep(50); // the service needs time to notice
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
  // Some tensors fit into the CUDA pool, some into the pinned pool, and the rest into neither.
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
