// Who has memory, who waits for it, and that all of it goes back.

import { describe, expect, test } from "bun:test";
import { HostEngine } from "../../../examples/gateway/engine/host-engine.ts";
import { expectSame } from "../../support/expectations.ts";
import { logged, resetAfterEach } from "../../support/runtime.ts";
import { patternBytes } from "../../support/values.ts";
import { eventually, GatewayUnderTest, type RawClient } from "./gateway-under-test.ts";

resetAfterEach();

const MiB = 1024 ** 2;

const nothing = { alpha: 0, beta: 0 };

/** A request by alpha whose answer nobody reads after its first bytes. */
async function stalledAnswer(under: GatewayUnderTest, byteSize: number): Promise<RawClient> {
  const client = await under.connect();
  client.sendIdentity(byteSize, patternBytes(byteSize));
  await eventually(() => client.received.byteLength > 0);
  client.pause();
  return client;
}

/** A request by alpha whose body does not come to its end. */
async function stalledRequest(under: GatewayUnderTest, byteSize: number): Promise<RawClient> {
  const client = await under.connect();
  const before = under.usedByteSizes().alpha;
  client.sendIdentity(byteSize, patternBytes(1000));
  await eventually(() => under.usedByteSizes().alpha === before + byteSize);
  return client;
}

describe("a tenant at its limit", () => {
  test("waits for its own memory, and holds up nobody else", async () => {
    await using under = new GatewayUnderTest({ waitMilliseconds: 10_000 });
    using client = await stalledRequest(under, 64 * MiB);
    let isAnswered = false;
    const waiting = under.identity(patternBytes(MiB)).then((answer) => {
      isAnswered = true;
      return answer;
    });
    for (let i = 0; i < 5; i++) {
      const { status } = await under.identity(patternBytes(MiB), { tenant: "beta" });
      expect(status).toBe(200);
    }
    expect(isAnswered).toBe(false);
    client[Symbol.dispose]();
    expect((await waiting).status).toBe(200);
    expect(under.usedByteSizes()).toEqual(nothing);
  });

  test("is told to come again when its time is over", async () => {
    await using under = new GatewayUnderTest({ waitMilliseconds: 50 });
    using _client = await stalledRequest(under, 64 * MiB);
    const { status, headers, json } = await under.identity(patternBytes(MiB));
    expect([status, headers.get("retry-after")]).toEqual([503, "1"]);
    expect(json.error).toContain("no memory for 1048576 bytes of alpha");
    expect(under.usedByteSizes().alpha).toBe(64 * MiB);
  });
});

test("without any pool, a tenant has the host's memory, up to its limit", async () => {
  const makeEngine = () => new HostEngine(null, "test");
  await using under = new GatewayUnderTest({ makeEngine, cudaByteSize: 0, pinnedByteSize: 0 });
  using _client = await stalledRequest(under, 60 * MiB);
  expect((await under.identity(patternBytes(3 * MiB))).status).toBe(200);
  const over = await under.identity(patternBytes(5 * MiB));
  expect([over.status, over.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await under.identity(patternBytes(65 * MiB))).status).toBe(413);
  expect(under.usedByteSizes().alpha).toBe(60 * MiB);
});

describe("where the pool is full", () => {
  test("requests are answered as there is room, in the order of their coming", async () => {
    await using under = new GatewayUnderTest({ cudaByteSize: 12 * MiB, waitMilliseconds: 10_000 });
    using client = await stalledRequest(under, 7 * MiB);
    const order: number[] = [];
    const waiting = [0, 1, 2].map(async (number) => {
      await Bun.sleep(20 * number);
      const { status } = await under.identity(patternBytes(5 * MiB), { tenant: "beta" });
      order.push(number);
      return status;
    });
    await Bun.sleep(100);
    expect(order).toEqual([]);
    client[Symbol.dispose]();
    expect(await Promise.all(waiting)).toEqual([200, 200, 200]);
    expect(under.usedByteSizes()).toEqual(nothing);
  });

  test("others are told to come again: in time, or at once where too many wait", async () => {
    const limits = { waitMilliseconds: 1500, waitingCountMax: 2 };
    await using under = new GatewayUnderTest({ cudaByteSize: 12 * MiB, ...limits });
    using _client = await stalledRequest(under, 7 * MiB);
    const start = performance.now();
    const answers = await Promise.all(
      [0, 1, 2].map(async () => {
        const { status, headers } = await under.identity(patternBytes(5 * MiB), { tenant: "beta" });
        return { status, retry: headers.get("retry-after"), after: performance.now() - start };
      }),
    );
    expect(answers.map(({ status, retry }) => [status, retry])).toEqual(Array(3).fill([503, "1"]));
    const times = answers.map(({ after }) => after).toSorted((a, b) => a - b);
    expect(times[0]).toBeLessThan(1400);
    expect(times[1]).toBeGreaterThan(1400);
  });

  test("one whose client has gone waits no more", async () => {
    await using under = new GatewayUnderTest({ cudaByteSize: 12 * MiB, waitMilliseconds: 10_000 });
    using client = await stalledRequest(under, 7 * MiB);
    const gone = new AbortController();
    const first = under.identity(patternBytes(5 * MiB), { tenant: "beta", signal: gone.signal });
    const second = under.identity(patternBytes(2 * MiB), { tenant: "beta" });
    await Bun.sleep(50);
    gone.abort();
    expect(first).rejects.toThrow();
    client[Symbol.dispose]();
    expect((await second).status).toBe(200);
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), nothing));
  });
});

describe("a request that is cut off", () => {
  test.each(["close", "end"])("by %s leaves nothing", async (how) => {
    await using under = new GatewayUnderTest();
    const blockCount = under.blockCount();
    using client = await stalledRequest(under, 8 * MiB);
    client.sendBytes(patternBytes(3 * MiB));
    await Bun.sleep(20);
    if (how === "close") client[Symbol.dispose]();
    else client.end();
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), nothing));
    await eventually(() => under.blockCount() === blockCount);
    expect((await under.identity(patternBytes(1000))).status).toBe(200);
  });

  test("because it stalls is disconnected", async () => {
    await using under = new GatewayUnderTest({ idleTimeoutSeconds: 1 });
    using client = await stalledRequest(under, MiB);
    // Bun checks for idle connections every few seconds only.
    const deadline = performance.now() + 12_000;
    while (!client.isClosed && performance.now() < deadline) await Bun.sleep(20);
    expect(client.isClosed).toBe(true);
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), nothing));
  }, 15_000);
});

describe("an answer", () => {
  test("that nobody reads keeps its tenant's memory, until its client goes", async () => {
    await using under = new GatewayUnderTest();
    using client = await stalledAnswer(under, 32 * MiB);
    await Bun.sleep(50);
    expect(under.usedByteSizes()).toEqual({ alpha: 32 * MiB, beta: 0 });
    client[Symbol.dispose]();
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), nothing));
  });

  test("that is read late is whole", async () => {
    await using under = new GatewayUnderTest();
    const bytes = patternBytes(32 * MiB);
    using client = await stalledAnswer(under, bytes.byteLength);
    await Bun.sleep(50);
    client.resume();
    await eventually(() => client.isChunkedBodyDone);
    const body = client.chunkedBody;
    expectSame(body.subarray(body.byteLength - bytes.byteLength), bytes);
    expect(under.usedByteSizes()).toEqual(nothing);
  });
});

describe("the end of a gateway", () => {
  test("comes when its requests have finished, and takes no others meanwhile", async () => {
    await using under = new GatewayUnderTest();
    const byteSize = 8 * MiB;
    using client = await stalledRequest(under, byteSize);
    const stopped = under.gateway.stop(10_000);
    expect(under.gateway.isReady()).toBe(false);
    await Bun.sleep(50);
    expect(under.request("GET", "v2/health/ready")).rejects.toThrow();
    client.sendBytes(patternBytes(byteSize).subarray(1000));
    await stopped;
    await eventually(() => client.isClosed);
    expect(client.received.toString("latin1")).toStartWith("HTTP/1.1 200");
    expect(client.received.byteLength).toBeGreaterThan(byteSize);
    expect(under.usedByteSizes()).toEqual(nothing);
  });

  test("cuts those off that take too long, and frees what they held", async () => {
    await using under = new GatewayUnderTest();
    using one = await stalledRequest(under, 8 * MiB);
    using other = await stalledAnswer(under, 32 * MiB);
    const start = performance.now();
    await under.gateway.stop(200);
    expect(performance.now() - start).toBeGreaterThan(150);
    expect(under.usedByteSizes()).toEqual(nothing);
    other.resume();
    for (const client of [one, other]) await eventually(() => client.isClosed);
  });
});

test("memory is where the model wants it, or nowhere", async () => {
  await using under = new GatewayUnderTest({ cudaByteSize: 12 * MiB, waitMilliseconds: 50 });
  expect((await under.identity(patternBytes(9 * MiB))).status).toBe(503);
  expect(logged.error).toEqual([]);
});
