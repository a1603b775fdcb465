// What an engine is given, and when.

import { describe, expect, spyOn, test } from "bun:test";
import { Batcher, type SubmittedJob } from "../../../examples/gateway/batcher.ts";
import type { Engine, Model, Tensor } from "../../../examples/gateway/engine/engine.ts";
import { localModels } from "../../../examples/gateway/engine/local-models.ts";
import { FairQueue } from "../../../examples/gateway/fair-queue.ts";
import { AllocatedMemory, createMemoryManagers, type CudaStream } from "../../../src/index.ts";
import { gpus, resetAfterEach } from "../../support/runtime.ts";

resetAfterEach();

const KiB = 1024;

const models = localModels(gpus[0]!);
const simple = models.get("simple")!;
const identity = models.get("identity")!;

/** What an engine was given: for each request the rows of its first input, as numbers. */
class RecordingEngine implements Engine {
  readonly description = "a recorder";
  readonly models = models;
  readonly batches: number[][] = [];
  /** What each request waits for. */
  gate: Promise<void> = Promise.resolve();
  failure: Error | null = null;

  isReady(): boolean {
    return true;
  }

  /** Adds 100 to the first input. */
  async execute(
    _model: Model,
    [first]: readonly Tensor[],
    _outputs: readonly Tensor[],
    stream: CudaStream | null,
  ): Promise<void> {
    await stream?.finished();
    const numbers = new Int32Array(first!.memory.totalByteSize / 4);
    const gate = this.gate;
    await first!.memory.readAsync(numbers);
    this.batches.push([...numbers]);
    await gate;
    if (this.failure !== null) throw this.failure;
    await first!.memory.writeAsync(numbers.map((number) => number + 100));
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A job whose inputs are rows of these numbers. */
class Request implements Disposable {
  readonly job: SubmittedJob;
  readonly #memory: AllocatedMemory;
  readonly #length: number;

  constructor(numbers: readonly number[], owner = "a", rowCount = 1, signal?: AbortSignal) {
    const byteSize = numbers.length * 4;
    this.#length = numbers.length;
    this.#memory = new AllocatedMemory(2 * byteSize, "GPU", gpus[0]);
    this.#memory.write(Int32Array.from(numbers));
    const tensors = ["INPUT0", "INPUT1"].map((name, index): Tensor => {
      const memory = this.#memory.subarray(index * byteSize, (index + 1) * byteSize);
      return { name, datatype: "INT32", shape: [rowCount, numbers.length / rowCount], memory };
    });
    this.job = { owner, inputs: tensors, outputs: tensors, signal: signal ?? AbortSignal.any([]) };
  }

  submitTo(batcher: Batcher): Promise<void> {
    return batcher.submit(this.job);
  }

  async results(): Promise<number[]> {
    const numbers = new Int32Array(this.#length);
    await this.#memory.readAsync(numbers);
    return [...numbers];
  }

  [Symbol.dispose](): void {
    this.#memory.free();
  }
}

/** A batcher whose engine works on one request until it is let go. */
class Busy implements AsyncDisposable {
  readonly engine = new RecordingEngine();
  readonly batcher: Batcher;
  readonly #managers = createMemoryManagers();
  readonly #first = new Request([0]);
  readonly #gate = Promise.withResolvers<void>();
  #running: Promise<void> | null = null;

  constructor(model = simple, bufferByteSize = 64 * KiB) {
    this.batcher = new Batcher(this.engine, model, bufferByteSize);
  }

  async begin(): Promise<void> {
    this.engine.gate = this.#gate.promise;
    this.#running = this.#first.submitTo(this.batcher);
    while (this.engine.batches.length === 0) await Bun.sleep(1);
  }

  async letGo(): Promise<void> {
    this.engine.gate = Promise.resolve();
    this.#gate.resolve();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.letGo();
    this.#first[Symbol.dispose]();
    await this.batcher[Symbol.asyncDispose]();
    this.#managers[Symbol.dispose]();
  }
}

describe("a batcher", () => {
  test("gives an idle engine a request at once, also while others are coming", async () => {
    await using busy = new Busy();
    using _coming = busy.batcher.expect();
    using request = new Request([1, 2]);
    await request.submitTo(busy.batcher);
    expect(busy.engine.batches).toEqual([[1, 2]]);
    expect(await request.results()).toEqual([101, 102]);
  });

  test("computes together what came while the engine was busy, and gives each its own", async () => {
    await using busy = new Busy();
    await busy.begin();
    using one = new Request([1, 2]);
    using two = new Request([3, 4, 5, 6], "a", 2);
    using three = new Request([7, 8]);
    const all = Promise.all([one, two, three].map((request) => request.submitTo(busy.batcher)));
    await busy.letGo();
    await all;
    expect(busy.engine.batches).toEqual([[0], [1, 2, 3, 4, 5, 6, 7, 8]]);
    expect(await one.results()).toEqual([101, 102]);
    expect(await two.results()).toEqual([103, 104, 105, 106]);
    expect(await three.results()).toEqual([107, 108]);
  });

  test("keeps apart what is not alike, too many rows, or too large", async () => {
    await using busy = new Busy(simple, 8 * KiB); // 4 KiB for each input
    await busy.begin();
    const rows = (rowCount: number, rowLength: number, value: number) =>
      new Request(Array(rowCount * rowLength).fill(value), "a", rowCount);
    using one = rows(40, 1, 1);
    using longer = rows(1, 2, 2);
    using more = rows(25, 1, 3);
    using large = rows(1, 1000, 4);
    using larger = rows(1, 1000, 5);
    const requests = [one, longer, more, large, larger];
    const all = Promise.all(requests.map((request) => request.submitTo(busy.batcher)));
    await busy.letGo();
    await all;
    expect(busy.engine.batches.map((batch) => [batch[0], batch.length])).toEqual([
      [0, 1],
      [1, 40],
      [2, 2],
      [3, 25],
      [4, 1000],
      [5, 1000],
    ]);
  });

  test("waits a moment for what is coming, once the engine was busy", async () => {
    await using busy = new Busy();
    await busy.begin();
    using one = new Request([1]);
    using two = new Request([2]);
    const coming = busy.batcher.expect();
    const first = one.submitTo(busy.batcher);
    await busy.letGo();
    const second = two.submitTo(busy.batcher);
    coming[Symbol.dispose]();
    await Promise.all([first, second]);
    expect(busy.engine.batches).toEqual([[0], [1, 2]]);
  });

  test("waits no longer than something is coming", async () => {
    await using busy = new Busy();
    await busy.begin();
    using one = new Request([1]);
    const coming = busy.batcher.expect();
    const first = one.submitTo(busy.batcher);
    const now = performance.now();
    using clock = spyOn(performance, "now").mockImplementation(() => now); // the moment is not over
    await busy.letGo();
    expect(busy.engine.batches).toEqual([[0]]);
    coming[Symbol.dispose]();
    await first;
    expect(busy.engine.batches).toEqual([[0], [1]]);
    expect(clock).toHaveBeenCalled();
  });

  test("waits no longer than that moment", async () => {
    await using busy = new Busy();
    await busy.begin();
    using one = new Request([1]);
    using _coming = busy.batcher.expect();
    const first = one.submitTo(busy.batcher);
    const start = performance.now();
    await busy.letGo();
    await first;
    expect(performance.now() - start).toBeLessThan(100);
    expect(busy.engine.batches).toEqual([[0], [1]]);
  });

  test("computes alone what the model does not batch", async () => {
    await using busy = new Busy(identity);
    await busy.begin();
    using one = new Request([1]);
    using two = new Request([2]);
    const all = Promise.all([one, two].map((request) => request.submitTo(busy.batcher)));
    await busy.letGo();
    await all;
    expect(busy.engine.batches).toEqual([[0], [1], [2]]);
  });

  test("leaves out whose client has gone", async () => {
    await using busy = new Busy();
    await busy.begin();
    const gone = new AbortController();
    using one = new Request([1], "a", 1, gone.signal);
    using two = new Request([2]);
    const first = one.submitTo(busy.batcher);
    const second = two.submitTo(busy.batcher);
    gone.abort(new Error("gone"));
    await busy.letGo();
    expect(first).rejects.toThrow("gone");
    await second;
    expect(busy.engine.batches).toEqual([[0], [2]]);
  });

  test("tells all of a batch where it fails, and goes on", async () => {
    await using busy = new Busy();
    await busy.begin();
    using one = new Request([1]);
    using two = new Request([2]);
    const both = Promise.allSettled([one, two].map((each) => each.submitTo(busy.batcher)));
    await busy.letGo();
    busy.engine.failure = new Error("the engine fails");
    const rejected = { status: "rejected" as const, reason: busy.engine.failure as unknown };
    expect(await both).toEqual([rejected, rejected]);
    busy.engine.failure = null;
    await two.submitTo(busy.batcher);
    expect(busy.engine.batches).toEqual([[0], [1, 2], [2]]);
  });
});

test("owners take turns in a fair queue", () => {
  const queue = new FairQueue<{ owner: string; number: number }>();
  const push = (owner: string, ...numbers: number[]) => {
    for (const number of numbers) queue.push({ owner, number });
  };
  push("a", 1, 2, 3, 4);
  push("b", 5);
  push("c", 6, 7);
  expect(queue.length).toBe(7);
  expect(queue.shift(({ number }) => number > 1)?.number).toBe(5); // a's first does not fit
  push("b", 8);
  const order = Array.from({ length: 6 }, () => queue.shift()!.number);
  expect(order).toEqual([1, 6, 8, 2, 7, 3].slice(0, 6));
  expect(queue.shift()?.number).toBe(4);
  expect(queue.shift()).toBeUndefined();
  expect(queue.length).toBe(0);
});
