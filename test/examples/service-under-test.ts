import { createMemoryManagers } from "../../src/index.ts";
import {
  type ServiceStats,
  startTensorService,
  type TensorService,
  type TensorServiceOptions,
} from "../../examples/tensor-service/tensor-service.ts";
import { connect, type Socket } from "node:net";

export { CudartSimulator } from "../../src/simulator.ts";

const MiB = 1024 ** 2;

interface Setup extends TensorServiceOptions {
  cudaByteSize?: number;
  pinnedByteSize?: number;
}

/** A service with memory managers of its own, and a client. */
export class ServiceUnderTest implements AsyncDisposable {
  readonly service: TensorService;
  readonly #managers: Disposable;

  constructor({ cudaByteSize = 64 * MiB, pinnedByteSize = 64 * MiB, ...options }: Setup = {}) {
    this.#managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: cudaByteSize },
      pinnedMemoryPoolByteSize: pinnedByteSize,
    });
    this.service = startTensorService(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.stop();
    this.#managers[Symbol.dispose]();
  }

  request(method: string, path: string, body?: Bun.BodyInit): Promise<Response> {
    return fetch(this.service.url + path, { method, ...(body !== undefined && { body }) });
  }

  put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<Response> {
    return this.request("PUT", `tensors/${name}`, bytes);
  }

  async get(name: string): Promise<Uint8Array> {
    return (await this.request("GET", `tensors/${name}`)).bytes();
  }

  async stats(): Promise<ServiceStats> {
    return (await (await this.request("GET", "stats")).json()) as ServiceStats;
  }

  /** Bytes in use in the pools: of tensors, and of transfers that are under way. */
  usedByteSizes(): { cuda: number; pinned: number } {
    const { cuda, pinned } = this.service.stats();
    return { cuda: cuda["0"]!.usedByteSize, pinned: pinned!.usedByteSize };
  }

  /** Connects without HTTP, for clients that misbehave. */
  connect(): Promise<RawClient> {
    const { hostname, port } = new URL(this.service.url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(new RawClient(socket)));
      socket.once("error", reject);
    });
  }
}

/** A TCP connection to the service. While it is paused, bytes stay in the network. */
export class RawClient implements Disposable {
  readonly #socket: Socket;
  readonly #pieces: Buffer[] = [];
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#pieces.push(bytes));
    socket.on("close", () => (this.#isClosed = true));
    socket.on("error", () => (this.#isClosed = true));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get receivedByteSize(): number {
    return this.#pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  send(head: string, body?: Uint8Array): void {
    this.#socket.write(`${head.replaceAll("\n", "\r\n")}\r\nHost: test\r\n\r\n`);
    if (body !== undefined) this.#socket.write(body);
  }

  /** Says that no more will be sent, but still listens. */
  end(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** What has come after the head of a response, out of its HTTP chunks. */
  get chunkedBody(): Uint8Array {
    const received = this.#received;
    const pieces: Uint8Array[] = [];
    let offset = received.indexOf("\r\n\r\n") + 4;
    for (;;) {
      const lineEnd = received.indexOf("\r\n", offset);
      const byteSize = Number.parseInt(received.toString("latin1", offset, lineEnd), 16);
      if (lineEnd < 0 || byteSize === 0) return Buffer.concat(pieces);
      pieces.push(received.subarray(lineEnd + 2, lineEnd + 2 + byteSize));
      offset = lineEnd + 2 + byteSize + 2;
    }
  }

  get isChunkedBodyDone(): boolean {
    const end = Buffer.concat(this.#pieces.slice(-5)).subarray(-5);
    return end.toString("latin1") === "0\r\n\r\n";
  }

  async statusLine(): Promise<string> {
    await eventually(() => this.#received.includes("\r\n"));
    return this.#received.toString("latin1", 0, this.#received.indexOf("\r\n"));
  }

  get #received(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Waits until something holds; fails after four seconds. */
export async function eventually(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 4000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`still not: ${holds}`);
    await Bun.sleep(2);
  }
}

/** What the body of a refusal says. */
export async function errorOf(response: Response): Promise<string> {
  const { error } = (await response.json()) as { error: string };
  return error;
}
