// Threads that have the clients, and one that has the engine: what they compute together, and what
// is left of a thread that fails.

import {
  afterEach,
  beforeEach,
  describe,
  expect,
  type Mock,
  setDefaultTimeout,
  spyOn,
  test,
} from "bun:test";
import { resetAfterEach } from "../../support/runtime.ts";
import { eventually, WorkersUnderTest, type WorkerThread } from "./workers-under-test.ts";

resetAfterEach();
setDefaultTimeout(60_000);

const MiB = 1024 ** 2;

const nothing = { alpha: 0, beta: 0 };

let consoleError: Mock<typeof console.error>;
beforeEach(() => {
  consoleError = spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => consoleError.mockRestore());

/** Whoever waits for a moment waits for as long as the clock stands still. */
function stopClock(): Disposable {
  const now = performance.now();
  const clock = spyOn(performance, "now").mockImplementation(() => now);
  return { [Symbol.dispose]: () => clock.mockRestore() };
}

async function isEverythingBack(under: WorkersUnderTest): Promise<void> {
  await eventually(() => Bun.deepEquals(under.usedByteSizes(), nothing));
  await eventually(() => under.detachedByteSize() === 0);
}

/** Waits until a request has been answered by this thread. */
async function serve(under: WorkersUnderTest, thread: WorkerThread): Promise<void> {
  using sum = await under.beginSum(thread);
  await sum.submit();
  expect(await sum.statusLine()).toContain("200");
}

describe("the engine", () => {
  test("has a request at once where it is idle, also while others are coming", async () => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    using _coming = await under.beginSum(other!);
    using _clock = stopClock();
    await serve(under, one!);
    expect(under.engine.rowCounts).toEqual([1]);
  });

  test("waits for what is coming in to another thread, once it was busy", async () => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    using first = await under.beginSum(one!);
    using second = await under.beginSum(one!);
    using third = await under.beginSum(other!);
    under.engine.hold();
    await first.submit();
    await second.submit();
    using _clock = stopClock();
    under.engine.letGo();
    expect(await first.statusLine()).toContain("200");
    expect(under.engine.rowCounts).toEqual([1]);
    await third.submit();
    for (const sum of [second, third]) expect(await sum.statusLine()).toContain("200");
    expect(under.engine.rowCounts).toEqual([1, 2]);
  });

  test("does not wait for what was coming in to a thread that has ended", async () => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    using first = await under.beginSum(one!);
    using second = await under.beginSum(one!);
    using _third = await under.beginSum(other!);
    under.engine.hold();
    await first.submit();
    await second.submit();
    await other!.kill();
    using _clock = stopClock();
    under.engine.letGo();
    for (const sum of [first, second]) expect(await sum.statusLine()).toContain("200");
    expect(under.engine.rowCounts).toEqual([1, 1]);
  });

  test("does not compute for a client that has gone", async () => {
    await using under = await WorkersUnderTest.start(1);
    const [thread] = under.threads;
    using first = await under.beginSum(thread!);
    using second = await under.beginSum(thread!);
    under.engine.hold();
    await first.submit();
    await second.submit();
    second[Symbol.dispose]();
    await eventually(() => thread!.count("abort") === 1);
    under.engine.letGo();
    expect(await first.statusLine()).toContain("200");
    await serve(under, thread!);
    expect(under.engine.rowCounts).toEqual([1, 1]);
    await isEverythingBack(under);
    expect(consoleError).not.toHaveBeenCalled();
  });
});

describe("a thread that fails", () => {
  test.each(["terminate", "throw"] as const)("by %s loses its own requests only", async (how) => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    const unread = await under.beginSum(one!, 4 * MiB);
    await unread.submit();
    await eventually(() => unread.client.received.byteLength > 0);
    unread.client.pause();
    const [computed, waiting, coming, kept, keptComing] = [
      await under.beginSum(one!),
      await under.beginSum(one!),
      await under.beginSum(one!),
      await under.beginSum(other!),
      await under.beginSum(other!),
    ];
    under.engine.hold();
    for (const sum of [computed, waiting, kept]) await sum.submit();
    expect(under.usedByteSizes().alpha).toBeGreaterThan(8 * MiB);
    await one!.kill(how);
    unread.client.resume();
    for (const { client } of [unread, computed, waiting, coming]) {
      await eventually(() => client.isClosed);
    }
    under.engine.letGo();
    await keptComing.submit();
    for (const sum of [kept, keptComing]) expect(await sum.statusLine()).toContain("200");
    expect(under.engine.rowCounts.reduce((sum, count) => sum + count)).toBe(4); // all but `waiting`
    await isEverythingBack(under);
  });

  test("leaves no memory that it was sent and had not come to take", async () => {
    await using under = await WorkersUnderTest.start(1);
    const [thread] = under.threads;
    await serve(under, thread!);
    const sum = await under.beginSum(thread!);
    const post = spyOn(thread!.worker, "postMessage").mockImplementation(() => {});
    await sum.submit();
    await eventually(() => post.mock.calls.some(([message]) => message.kind === "computed"));
    post.mockRestore();
    expect(under.detachedByteSize()).toBeGreaterThan(0);
    await thread!.kill();
    await isEverythingBack(under);
  });

  test("lets those have its memory that wait for it", async () => {
    await using under = await WorkersUnderTest.start(2, { waitMilliseconds: 10_000 });
    const [one, other] = under.threads;
    const kept = await under.beginSum(other!);
    await kept.submit();
    await eventually(() => kept.answerCount === 1);
    await under.beginSum(one!, 31 * MiB); // of alpha's 64 MiB
    kept.sendAnother(2 * MiB);
    await Bun.sleep(50);
    expect(kept.answerCount).toBe(1);
    await one!.kill();
    await eventually(() => kept.answerCount === 2);
    await isEverythingBack(under);
  });

  test("has another in its place", async () => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    for (const [index, thread] of [one!, other!].entries()) {
      await thread.kill("throw");
      expect(String(consoleError.mock.lastCall)).toContain("another takes its place");
      await eventually(() => under.threads[2 + index]?.isListening === true);
    }
    for (const thread of under.threads.slice(2)) await serve(under, thread);
    expect(under.threads).toHaveLength(4);
  });
});

describe("threads that fail one after the other", () => {
  async function killLast(under: WorkersUnderTest): Promise<void> {
    await under.threads.at(-1)!.kill("throw");
  }

  async function nextListens(under: WorkersUnderTest, count: number): Promise<void> {
    await eventually(() => under.threads[count - 1]?.isListening === true);
  }

  test("end the gateway when three have not served anybody", async () => {
    await using under = await WorkersUnderTest.start(2);
    const failed = under.gateway.failed.catch((error: Error) => error.message);
    for (let count = 2; count < 5; count++) {
      await nextListens(under, count);
      await killLast(under);
    }
    expect(await failed).toContain("3 Workers have failed that had served nobody, the last with: ");
    expect(under.threads).toHaveLength(4);
    await serve(under, under.threads[0]!);
  });

  test("do not where others in between have", async () => {
    await using under = await WorkersUnderTest.start(1);
    for (let count = 1; count <= 6; count++) {
      await nextListens(under, count);
      if (count === 3) await serve(under, under.threads.at(-1)!);
      if (count < 6) await killLast(under);
    }
    await serve(under, under.threads.at(-1)!);
  });
});

/** Three requests: the engine has one thread's, one of the other's waits for it, and one is coming in. */
async function beginThree(under: WorkersUnderTest, one: WorkerThread, other: WorkerThread) {
  const [first, waiting, coming] = [
    await under.beginSum(one),
    await under.beginSum(other),
    await under.beginSum(other),
  ];
  under.engine.hold();
  for (const sum of [first, waiting]) await sum.submit();
  return [first, waiting, coming] as const;
}

describe("the end of a gateway with Workers", () => {
  test("comes when the requests of all have finished", async () => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    const [first, waiting, coming] = await beginThree(under, one!, other!);
    const stopped = under.gateway.stop(10_000);
    await coming.submit();
    under.engine.letGo();
    for (const sum of [first, waiting, coming]) {
      expect(await sum.statusLine()).toContain("200");
    }
    await stopped;
    expect(under.threads.every(({ hasEnded }) => hasEnded)).toBe(true);
    await isEverythingBack(under);
  });

  test("comes without those that take too long, and with their memory", async () => {
    await using under = await WorkersUnderTest.start(2);
    const [one, other] = under.threads;
    const [first, waiting, coming] = await beginThree(under, one!, other!);
    const stopped = under.gateway.stop(50);
    for (const { client } of [first, waiting, coming]) await eventually(() => client.isClosed);
    await eventually(() => other!.count("abort") === 1);
    under.engine.letGo();
    await stopped;
    expect(under.engine.rowCounts).toEqual([1]);
    await isEverythingBack(under);
  });

  test("does not wait for a thread that does not listen", async () => {
    await using under = await WorkersUnderTest.start(1);
    const [thread] = under.threads;
    const coming = await under.beginSum(thread!);
    const post = spyOn(thread!.worker, "postMessage").mockImplementation(() => {});
    await under.gateway.stop(0);
    post.mockRestore();
    expect(thread!.hasEnded).toBe(true);
    await eventually(() => coming.client.isClosed);
    await isEverythingBack(under);
  });
});
