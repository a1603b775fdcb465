import { connect, type Socket } from "node:net";
import { chooseEngine } from "../../../examples/gateway/engine/choose-engine.ts";
import type { Engine } from "../../../examples/gateway/engine/engine.ts";
import { Gateway, type GatewayOptions } from "../../../examples/gateway/gateway.ts";
import { LocalScheduler } from "../../../examples/gateway/local-scheduler.ts";
import {
  createMemoryManagers,
  CudaMemoryManager,
  MemoryAccount,
  PinnedMemoryManager,
} from "../../../src/index.ts";

export { CudartSimulator } from "../../../src/simulator.ts";

const MiB = 1024 ** 2;

/** The tenants of a gateway under test. */
export const tenants = [
  { name: "alpha", key: "the-key-of-alpha", limitByteSize: 64 * MiB },
  { name: "beta", key: "the-key-of-beta!", limitByteSize: 8 * MiB },
] as const;

export type TenantName = (typeof tenants)[number]["name"];

/** A tensor as it is in the JSON of a request or an answer. */
export interface JsonTensor {
  name: string;
  datatype: string;
  shape: number[];
  parameters?: { binary_data_size?: number };
  data?: unknown[];
}

/** An answer with its tensors' bytes, by name. */
export interface Answer {
  status: number;
  headers: Headers;
  json: {
    error?: string;
    id?: string;
    model_name?: string;
    model_version?: string;
    outputs: JsonTensor[];
  };
  bytes: Record<string, Uint8Array>;
}

export async function readAnswer(response: Response): Promise<Answer> {
  const body = await response.bytes();
  const length = response.headers.get("inference-header-content-length");
  const jsonByteSize = length === null ? body.byteLength : Number(length);
  const json = JSON.parse(Buffer.from(body.subarray(0, jsonByteSize)).toString() || "{}");
  const bytes: Record<string, Uint8Array> = {};
  let offset = jsonByteSize;
  for (const { name, parameters } of (json.outputs ?? []) as JsonTensor[]) {
    if (parameters?.binary_data_size === undefined) continue;
    bytes[name] = body.subarray(offset, (offset += parameters.binary_data_size));
  }
  if (offset !== body.byteLength) throw new Error(`${body.byteLength - offset} bytes are too many`);
  return { status: response.status, headers: response.headers, json, bytes };
}

/** A binary input. */
export function binary(
  name: string,
  datatype: string,
  shape: number[],
  byteSize: number,
): JsonTensor {
  return { name, datatype, shape, parameters: { binary_data_size: byteSize } };
}

/** The body of a request, and how long its JSON is. */
export function bodyOf(json: unknown, ...tensors: Uint8Array[]) {
  const head = Buffer.from(typeof json === "string" ? json : JSON.stringify(json));
  return { body: Buffer.concat([head, ...tensors]), jsonByteSize: head.byteLength };
}

export function keyOf(tenant: TenantName): string {
  return tenants.find(({ name }) => name === tenant)!.key;
}

interface Setup extends Partial<GatewayOptions> {
  cudaByteSize?: number;
  pinnedByteSize?: number;
  makeEngine?: () => Engine;
}

/** A client of a gateway in this process. */
export abstract class GatewayClient {
  /** Where the gateway listens, ending with a slash. */
  abstract get url(): string;

  /** Any request, by `alpha` unless its headers say otherwise. */
  request(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (!headers.has("authorization")) headers.set("authorization", `Bearer ${keyOf("alpha")}`);
    return fetch(this.url + path, { ...init, method, headers });
  }

  /** An inference with binary tensors behind the JSON. */
  async infer(
    model: string,
    json: unknown,
    tensors: Uint8Array[] = [],
    { tenant = "alpha", ...init }: RequestInit & { tenant?: TenantName } = {},
  ): Promise<Answer> {
    const { body, jsonByteSize } = bodyOf(json, ...tensors);
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${keyOf(tenant)}`);
    if (!headers.has("inference-header-content-length")) {
      headers.set("inference-header-content-length", String(jsonByteSize));
    }
    const path = `v2/models/${model}/infer`;
    return readAnswer(await this.request("POST", path, { ...init, headers, body }));
  }

  /** Sends bytes to the model that gives them back. */
  identity(bytes: Uint8Array, options: { tenant?: TenantName; signal?: AbortSignal } = {}) {
    const json = {
      inputs: [binary("INPUT0", "UINT8", [1, bytes.byteLength], bytes.byteLength)],
      parameters: { binary_data_output: true },
    };
    return this.infer("identity", json, [bytes], options);
  }

  /** Bytes in use: in the pools beyond what an idle gateway has, and of the tenants. */
  usedByteSizes(): { alpha: number; beta: number } {
    return {
      alpha: MemoryAccount.of("alpha").stats().usedByteSize,
      beta: MemoryAccount.of("beta").stats().usedByteSize,
    };
  }

  /** Blocks that are allocated in both pools. */
  blockCount(): number {
    return CudaMemoryManager.stats(0).allocationCount + PinnedMemoryManager.stats().allocationCount;
  }

  /** Connects without HTTP, for clients that misbehave. */
  connect(): Promise<RawClient> {
    return RawClient.connect(this.url);
  }
}

/** A gateway with memory managers of its own. */
export class GatewayUnderTest extends GatewayClient implements AsyncDisposable {
  readonly gateway: Gateway;
  readonly #engine: Engine;
  readonly #scheduler: LocalScheduler;
  readonly #managers: Disposable;

  constructor({ cudaByteSize = 96 * MiB, pinnedByteSize = 32 * MiB, ...setup }: Setup = {}) {
    super();
    const { makeEngine, ...options } = setup;
    this.#managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: cudaByteSize },
      pinnedMemoryPoolByteSize: pinnedByteSize,
    });
    this.#engine = makeEngine?.() ?? chooseEngine();
    this.#scheduler = new LocalScheduler(this.#engine);
    this.gateway = new Gateway(this.#scheduler, { tenants, ...options });
  }

  get url(): string {
    return this.gateway.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway.stop();
    await this.#scheduler[Symbol.asyncDispose]();
    await this.#engine[Symbol.asyncDispose]();
    this.#managers[Symbol.dispose]();
  }
}

/** A TCP connection to the gateway. While it is paused, bytes stay in the network. */
export class RawClient implements Disposable {
  readonly #socket: Socket;
  readonly #pieces: Buffer[] = [];
  #isClosed = false;

  static connect(url: string): Promise<RawClient> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => resolve(new RawClient(socket)));
      socket.once("error", reject);
    });
  }

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#pieces.push(bytes));
    socket.on("close", () => (this.#isClosed = true));
    socket.on("error", () => (this.#isClosed = true));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get received(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  /** Sends the head of a request by `alpha`, and bytes of its body. */
  send(head: string, body?: Uint8Array): void {
    const lines = [head.trim(), "Host: test", `Authorization: Bearer ${keyOf("alpha")}`, "", ""];
    this.#socket.write(lines.join("\n").replaceAll("\n", "\r\n"));
    if (body !== undefined) this.sendBytes(body);
  }

  sendBytes(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Begins an inference whose body is larger than what is sent of it. */
  sendIdentity(byteSize: number, sent: Uint8Array): void {
    const { body, jsonByteSize } = bodyOf({
      inputs: [binary("INPUT0", "UINT8", [1, byteSize], byteSize)],
      parameters: { binary_data_output: true },
    });
    this.send(
      `POST /v2/models/identity/infer HTTP/1.1\nContent-Length: ${jsonByteSize + byteSize}\n` +
        `Inference-Header-Content-Length: ${jsonByteSize}`,
      Buffer.concat([body, sent]),
    );
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

  /** What has come after the head of an answer, out of its HTTP chunks. */
  get chunkedBody(): Uint8Array {
    const received = this.received;
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
    await eventually(() => this.received.includes("\r\n"));
    return this.received.toString("latin1", 0, this.received.indexOf("\r\n"));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Waits until something holds; fails after four seconds, or as many as are said. */
export async function eventually(holds: () => boolean, seconds = 4): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`still not: ${holds}`);
    await Bun.sleep(2);
  }
}
