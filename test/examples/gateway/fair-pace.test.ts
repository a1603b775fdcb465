import { describe, expect, test } from "bun:test";
import { Deadline } from "../../../examples/gateway/deadline.ts";
import { FairPace } from "../../../examples/gateway/fair-pace.ts";

const never = new AbortController().signal;
const KiB = 1024;

/** Begins requests, and notes whose have begun. */
class Beginning {
  readonly order: string[] = [];
  readonly #pace: FairPace;

  constructor(byteSizePerMillisecond: number) {
    this.#pace = new FairPace(byteSizePerMillisecond);
  }

  async begin(tenant: string, byteSize: number, signal = never): Promise<void> {
    await this.#pace.begin(tenant, byteSize, signal);
    this.order.push(tenant);
  }
}

/** What has been resolved without waiting for anything. */
async function afterMicrotasks(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe("a pace", () => {
  test("lets all requests of a tenant that is alone begin at once", async () => {
    const beginning = new Beginning(1);
    for (let i = 0; i < 100; i++) void beginning.begin("greedy", 256 * KiB);
    await afterMicrotasks();
    expect(beginning.order).toEqual(Array(100).fill("greedy"));
  });

  test("has a tenant wait that has more than its share, and nobody else", async () => {
    const beginning = new Beginning(8 * KiB);
    void beginning.begin("modest", 0);
    const greedy = Array.from({ length: 4 }, () => beginning.begin("greedy", 100 * KiB));
    await afterMicrotasks();
    expect(beginning.order).toEqual(["modest", "greedy"]);
    for (let i = 0; i < 5; i++) await beginning.begin("modest", 0);
    expect(beginning.order.filter((tenant) => tenant === "modest")).toHaveLength(6);
    expect(beginning.order.length).toBeLessThan(6 + 4);
    await Promise.all(greedy); // none waits for ever
  });

  test("does not count a tenant that asks for nothing any more", async () => {
    const beginning = new Beginning(1);
    void beginning.begin("modest", 0);
    void beginning.begin("greedy", 256 * KiB);
    // At that pace the next would have to wait for minutes.
    await Promise.all(Array.from({ length: 50 }, () => beginning.begin("greedy", 256 * KiB)));
    expect(beginning.order).toHaveLength(52);
  });

  test("counts a request for no more than 256 KiB", async () => {
    const beginning = new Beginning(64 * KiB);
    void beginning.begin("modest", 0);
    void beginning.begin("greedy", 1024 ** 4);
    const later = beginning.begin("greedy", 0);
    while (beginning.order.length < 3) await beginning.begin("modest", 0);
    await later;
    expect(beginning.order).toContain("greedy");
  });

  test("lets those of a tenant begin in the order of asking", async () => {
    const pace = new FairPace(KiB);
    void pace.begin("modest", 0, never);
    const order: number[] = [];
    const asked = Array.from({ length: 5 }, async (_, index) => {
      await pace.begin("greedy", 4 * KiB, never);
      order.push(index);
    });
    await Promise.all(asked);
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });

  test("forgets a request that is aborted while it waits", async () => {
    const beginning = new Beginning(KiB);
    void beginning.begin("modest", 0);
    void beginning.begin("greedy", 64 * KiB);
    const gone = new AbortController();
    const waiting = beginning.begin("greedy", 1024, gone.signal);
    gone.abort("gone");
    expect(waiting).rejects.toBe("gone");
    expect(beginning.begin("greedy", 0, AbortSignal.abort("before"))).rejects.toBe("before");
    await beginning.begin("greedy", 0);
    expect(beginning.order).toEqual(["modest", "greedy", "greedy"]);
  });
});

describe("a deadline", () => {
  test("aborts its signal when it has passed", async () => {
    using deadline = new Deadline(5, never);
    expect(deadline.signal.aborted).toBe(false);
    await new Promise((resolve) => deadline.signal.addEventListener("abort", resolve));
    expect(deadline.hasPassed).toBe(true);
  });

  test("passes another signal's reason on, and has not passed then", () => {
    const outer = new AbortController();
    using deadline = new Deadline(60_000, outer.signal);
    outer.abort("gone");
    expect([deadline.signal.reason, deadline.hasPassed]).toEqual(["gone", false]);
    using late = new Deadline(60_000, outer.signal);
    expect(late.signal.reason).toBe("gone");
  });

  test("does nothing once it is disposed of", async () => {
    const outer = new AbortController();
    const deadline = new Deadline(1, outer.signal);
    deadline[Symbol.dispose]();
    outer.abort();
    await Bun.sleep(5);
    expect([deadline.signal.aborted, deadline.hasPassed]).toEqual([false, false]);
  });
});
