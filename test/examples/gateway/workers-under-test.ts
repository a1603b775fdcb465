import type { Worker } from "node:worker_threads";
import { chooseEngine } from "../../../examples/gateway/engine/choose-engine.ts";
import type { Engine, Model, Tensor } from "../../../examples/gateway/engine/engine.ts";
import type { GatewayOptions } from "../../../examples/gateway/gateway.ts";
import { LocalScheduler } from "../../../examples/gateway/local-scheduler.ts";
import { GatewayWorkers } from "../../../examples/gateway/workers/gateway-workers.ts";
import type { FromWorker } from "../../../examples/gateway/workers/messages.ts";
import {
  type CudaStream,
  createMemoryManagers,
  CudaMemoryManager,
  PinnedMemoryManager,
} from "../../../src/index.ts";
import {
  binary,
  bodyOf,
  eventually as eventuallyWithin,
  GatewayClient,
  type RawClient,
  tenants,
} from "./gateway-under-test.ts";

const MiB = 1024 ** 2;

/** Threads start slowly where the machine is busy. */
export function eventually(holds: () => boolean): Promise<void> {
  return eventuallyWithin(holds, 20);
}

/** An engine that computes when it is let, and tells how many rows each batch has. */
export class GatedEngine implements Engine {
  readonly #engine = chooseEngine();
  readonly description = this.#engine.description;
  readonly models = this.#engine.models;
  readonly rowCounts: number[] = [];
  #gate = Promise.withResolvers<void>();

  constructor() {
    this.letGo();
  }

  isReady(): boolean {
    return this.#engine.isReady();
  }

  /** Computes nothing until it is let go. */
  hold(): void {
    this.#gate = Promise.withResolvers();
  }

  letGo(): void {
    this.#gate.resolve();
  }

  async execute(
    model: Model,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    stream: CudaStream | null,
  ): Promise<void> {
    this.rowCounts.push(inputs[0]!.shape[0]!);
    await this.#gate.promise;
    await this.#engine.execute(model, inputs, outputs, stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
  }
}

/** A thread of the gateway, and what it has sent. */
export class WorkerThread {
  readonly worker: Worker;
  readonly #counts = new Map<FromWorker["kind"], number>();
  #hasEnded = false;

  constructor(worker: Worker) {
    this.worker = worker;
    worker.on("message", ({ kind }: FromWorker) => this.#counts.set(kind, this.count(kind) + 1));
    worker.on("exit", () => (this.#hasEnded = true));
  }

  get isListening(): boolean {
    return this.count("listening") > 0 && !this.#hasEnded;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** How many messages of a kind have come of it. */
  count(kind: FromWorker["kind"]): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** Ends it, and waits for that: from outside, or by an error that nobody catches. */
  async kill(how: "terminate" | "throw" = "terminate"): Promise<void> {
    if (how === "terminate") void this.worker.terminate();
    else this.worker.postMessage(null); // no message has no kind
    await eventually(() => this.#hasEnded);
  }
}

/** A request for the sum of two tensors of a row each. */
function sumRequest(rowByteSize: number) {
  const shape = [1, rowByteSize / 4];
  const { body, jsonByteSize } = bodyOf(
    {
      inputs: ["INPUT0", "INPUT1"].map((name) => binary(name, "INT32", shape, rowByteSize)),
      parameters: { binary_data_output: true },
    },
    new Uint8Array(2 * rowByteSize),
  );
  const head =
    `POST /v2/models/simple/infer HTTP/1.1\nContent-Length: ${body.byteLength}\n` +
    `Inference-Header-Content-Length: ${jsonByteSize}`;
  return { head, body, jsonByteSize };
}

/** A request for a sum, whose body has begun to come in at one of the threads. */
export class ComingSum implements Disposable {
  readonly client: RawClient;
  readonly thread: WorkerThread;
  readonly #rest: Uint8Array;

  constructor(client: RawClient, thread: WorkerThread, rest: Uint8Array) {
    this.client = client;
    this.thread = thread;
    this.#rest = rest;
  }

  /** Sends the rest, and waits until the engine's thread has it. */
  async submit(): Promise<void> {
    const before = this.thread.count("compute");
    this.client.sendBytes(this.#rest);
    await eventually(() => this.thread.count("compute") > before);
  }

  async statusLine(): Promise<string> {
    await eventually(() => this.client.received.includes("\r\n"));
    return this.client.statusLine();
  }

  /** Sends another request, all of it, to the same thread. */
  sendAnother(rowByteSize: number): void {
    const { head, body } = sumRequest(rowByteSize);
    this.client.send(head, body);
  }

  /** How many requests have been answered, or begun to be. */
  get answerCount(): number {
    return this.client.received.toString("latin1").split("HTTP/1.1 200").length - 1;
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }
}

/** A gateway with Workers in this process, and with memory managers of its own. */
export class WorkersUnderTest extends GatewayClient implements AsyncDisposable {
  readonly engine: GatedEngine;
  /** All that were started, in this order. */
  readonly threads: WorkerThread[] = [];
  readonly #managers: Disposable;
  readonly #scheduler: LocalScheduler;
  #gateway: GatewayWorkers | null = null;

  static async start(
    workerCount: number,
    options: Partial<GatewayOptions> = {},
  ): Promise<WorkersUnderTest> {
    const under = new WorkersUnderTest();
    process.on("worker", under.#addThread);
    under.#gateway = await GatewayWorkers.start(workerCount, under.#scheduler, {
      tenants,
      ...options,
    });
    return under;
  }

  private constructor() {
    super();
    this.#managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: 96 * MiB },
      pinnedMemoryPoolByteSize: 32 * MiB,
    });
    this.engine = new GatedEngine();
    this.#scheduler = new LocalScheduler(this.engine);
  }

  readonly #addThread = (worker: Worker) => void this.threads.push(new WorkerThread(worker));

  async [Symbol.asyncDispose](): Promise<void> {
    this.engine.letGo();
    await this.gateway.stop();
    process.off("worker", this.#addThread);
    await this.#scheduler[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
    this.#managers[Symbol.dispose]();
  }

  get gateway(): GatewayWorkers {
    return this.#gateway!;
  }

  get url(): string {
    return this.gateway.url;
  }

  /** Bytes that are on their way between threads. */
  detachedByteSize(): number {
    return (
      CudaMemoryManager.stats(0).detachedByteSize + PinnedMemoryManager.stats().detachedByteSize
    );
  }

  /**
   * Begins a request for a sum of two tensors of a row each, whose body does not come to its end yet.
   * The kernel chooses who has a connection, so that there are as many until one is this thread's.
   */
  async beginSum(thread: WorkerThread, rowByteSize = 64 * 1024): Promise<ComingSum> {
    const { head, body, jsonByteSize } = sumRequest(rowByteSize);
    const sentByteSize = jsonByteSize + 1000;
    for (;;) {
      const before = this.threads.map((each) => each.count("expect"));
      const client = await this.connect();
      client.send(head, body.subarray(0, sentByteSize));
      const isNew = (each: WorkerThread, index: number) =>
        each.count("expect") > (before[index] ?? 0);
      await eventually(() => this.threads.some(isNew));
      if (this.threads.find(isNew) === thread) {
        return new ComingSum(client, thread, body.subarray(sentByteSize));
      }
      const other = this.threads.find(isNew)!;
      const endedBefore = other.count("expect no more");
      client[Symbol.dispose]();
      await eventually(() => other.count("expect no more") > endedBefore);
    }
  }
}
