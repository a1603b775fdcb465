import {
  type AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  getSupportedGpus,
  MemoryError,
  parseMemoryOptions,
  PinnedMemoryManager,
  type PoolStats,
} from "bun-cuda-memory";
import { parseArgs } from "node:util";
import { type TensorStats, TensorStore } from "./tensor-store.ts";
import { CutOffError, OutOfMemoryError, receiveTensor, sendTensor } from "./tensor-transfer.ts";

// An HTTP service that keeps tensors in GPU memory, or where they fit:
//
//   bun examples/tensor-service/tensor-service.ts --port 8000 --cuda-memory-pool-byte-size 0:1GiB
//
//   curl -T weights.bin http://127.0.0.1:8000/tensors/weights
//   curl -o weights.bin http://127.0.0.1:8000/tensors/weights
//   curl http://127.0.0.1:8000/stats
//   curl -X DELETE http://127.0.0.1:8000/tensors/weights

/** Options of {@link startTensorService}. */
export interface TensorServiceOptions {
  /** Default 0: any free port. */
  port?: number;
  /** Default `"127.0.0.1"`: this machine only. */
  hostname?: string;
  /** Larger tensors are refused. Default 1 GiB. */
  maxTensorByteSize?: number;
  /** Bytes that a request moves at once, and has in JS memory. Default 1 MiB. */
  pieceByteSize?: number;
  /** A client that neither sends nor takes anything for so long is disconnected. Default 30. */
  idleTimeoutSeconds?: number;
}

/** What `GET /stats` answers. */
export interface ServiceStats {
  /** The CUDA memory pools by GPU; GPUs without one are left out. */
  cuda: Record<string, PoolStats>;
  /** `null` where there is no manager. */
  pinned: PoolStats | null;
  tensors: TensorStats;
}

/** What `PUT /tensors/NAME` answers. */
export interface TensorDescription {
  name: string;
  byteSize: number;
  memoryType: AllocatedMemory["memoryType"];
  memoryTypeId: number;
}

/** An answer other than success. */
class HttpError extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

function poolStats(read: () => PoolStats): PoolStats | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof MemoryError && error.code === "UNAVAILABLE") return null;
    throw error;
  }
}

function cudaPoolStats(): Record<string, PoolStats> {
  const byGpu: Record<string, PoolStats> = {};
  for (const deviceId of getSupportedGpus(0)) {
    const stats = poolStats(() => CudaMemoryManager.stats(deviceId));
    if (stats !== null) byGpu[deviceId] = stats;
  }
  return byGpu;
}

const namePattern = /^[\w.-]{1,128}$/;
const nameRule = "a tensor's name has 1 to 128 letters, digits, dots, underscores and dashes";

/** The path alone. Not by `new URL`, which throws for what some clients send as their host. */
function pathOf(request: Request): string {
  return /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(request.url)![1]!;
}

/** Bytes that the client announces. */
function announcedByteSize(request: Request, maxByteSize: number): number {
  const header = request.headers.get("content-length");
  if (header === null) throw new HttpError(411, "a tensor's Content-Length must be announced");
  const byteSize = /^\d+$/.test(header) ? Number(header) : NaN;
  if (Number.isNaN(byteSize)) throw new HttpError(400, `malformed Content-Length: ${header}`);
  if (byteSize > maxByteSize) {
    throw new HttpError(413, `${byteSize} bytes are more than the ${maxByteSize} of a tensor`);
  }
  return byteSize;
}

type Handler = (request: Request) => Response | Promise<Response>;

/** Calls the handler of the request's method. */
function byMethod(request: Request, handlers: Record<string, Handler>): ReturnType<Handler> {
  const methods = Object.keys(handlers);
  const handler = handlers[request.method];
  if (handler !== undefined) return handler(request);
  throw new HttpError(405, `the method must be one of ${methods.join(", ")}`, {
    allow: methods.join(", "),
  });
}

/** A tensor service that runs. Disposing of it is the same as {@link stop}. */
export class TensorService implements AsyncDisposable {
  readonly #tensors = new TensorStore();
  readonly #maxTensorByteSize: number;
  readonly #pieceByteSize: number;
  readonly #server: Bun.Server<undefined>;
  readonly #pending = new Set<Promise<Response>>();
  #isStopped = false;

  /** The memory managers must have been created, and must outlive the service. */
  constructor(options: TensorServiceOptions = {}) {
    this.#maxTensorByteSize = options.maxTensorByteSize ?? 1024 ** 3;
    this.#pieceByteSize = options.pieceByteSize ?? 1024 ** 2;
    this.#server = Bun.serve({
      port: options.port ?? 0,
      hostname: options.hostname ?? "127.0.0.1",
      // The service's own limit, above, is the one that counts: with Bun's a client would get a
      // bare 413. Nothing is read that the service does not ask for.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      // Bun's 10 seconds are short for a client that computes while it takes a large tensor.
      // Without any, a client that stalls would keep its memory for ever.
      idleTimeout: options.idleTimeoutSeconds ?? 30,
      development: false,
      fetch: (request) => this.#track(this.#answer(request)),
    });
  }

  /** Where it listens, ending with a slash. */
  get url(): string {
    return this.#server.url.href;
  }

  /** Ends all connections and frees all tensors. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#server.stop(true);
    await Promise.allSettled(this.#pending); // uploads notice that they are cut off
    await this.#tensors.clear(); // and so do downloads
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  stats(): ServiceStats {
    return {
      cuda: cudaPoolStats(),
      pinned: poolStats(() => PinnedMemoryManager.stats()),
      tensors: this.#tensors.stats(),
    };
  }

  #track(response: Promise<Response>): Promise<Response> {
    this.#pending.add(response);
    return response.finally(() => this.#pending.delete(response));
  }

  /** Every error becomes an answer; none gets out. */
  async #answer(request: Request): Promise<Response> {
    try {
      return await this.#route(request);
    } catch (error) {
      const { status, message, headers } = httpErrorOf(error);
      return Response.json({ error: message }, { status, headers });
    }
  }

  #route(request: Request): ReturnType<Handler> {
    const path = pathOf(request);
    if (path === "/stats") {
      const stats = () => Response.json(this.stats());
      return byMethod(request, { GET: stats, HEAD: stats });
    }
    const name = /^\/tensors\/(.*)$/.exec(path)?.[1];
    if (name === undefined) throw new HttpError(404, `there is nothing at ${path}`);
    if (!namePattern.test(name)) throw new HttpError(400, nameRule);
    return byMethod(request, {
      GET: () => this.#get(name, request),
      HEAD: () => this.#head(name),
      PUT: () => this.#put(name, request),
      DELETE: () => this.#delete(name),
    });
  }

  async #put(name: string, request: Request): Promise<Response> {
    const byteSize = announcedByteSize(request, this.#maxTensorByteSize);
    const memory = await receiveTensor(request.body, byteSize, this.#pieceByteSize);
    if (this.#isStopped) {
      memory.free();
      throw new HttpError(503, "the service has been stopped");
    }
    const isNew = this.#tensors.set(name, memory);
    const { memoryType, memoryTypeId } = memory;
    const description: TensorDescription = { name, byteSize, memoryType, memoryTypeId };
    return Response.json(description, { status: isNew ? 201 : 200 });
  }

  async #get(name: string, request: Request): Promise<Response> {
    const tensor = this.#require(name);
    // Read first: the tensor's size is 0 once it is freed.
    const headers = headersOf(tensor.memory);
    const body = await sendTensor(tensor, this.#pieceByteSize, request.signal);
    return new Response(body, { headers });
  }

  #head(name: string): Response {
    return new Response(null, { headers: headersOf(this.#require(name).memory) });
  }

  #delete(name: string): Response {
    this.#require(name);
    this.#tensors.delete(name);
    return new Response(null, { status: 204 });
  }

  #require(name: string) {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw new HttpError(404, `there is no tensor ${name}`);
    return tensor;
  }
}

function headersOf(memory: AllocatedMemory): Record<string, string> {
  return {
    "content-type": "application/octet-stream",
    // Bun 1.4 sends a streamed body in HTTP chunks and leaves this header out there, so the size is
    // in one of our own too.
    "content-length": String(memory.totalByteSize),
    "x-byte-size": String(memory.totalByteSize),
    "x-memory-type": memory.memoryType,
    "x-memory-type-id": String(memory.memoryTypeId),
  };
}

function httpErrorOf(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof CutOffError) return new HttpError(400, error.message);
  if (error instanceof OutOfMemoryError) return new HttpError(507, error.message);
  console.error(error);
  return new HttpError(500, error instanceof Error ? error.message : String(error));
}

/**
 * Starts the service. The memory managers must have been created, and must outlive it.
 *
 * @example
 * ```ts
 * using managers = createMemoryManagers();
 * await using service = startTensorService({ port: 8000 });
 * ```
 */
export function startTensorService(options?: TensorServiceOptions): TensorService {
  return new TensorService(options);
}

/** The service's own options; what the package understands is checked by the package. */
function parseServiceOptions(argv: string[]): TensorServiceOptions {
  const { values } = parseArgs({
    args: argv,
    options: {
      port: { type: "string", default: "8000" },
      hostname: { type: "string", default: "127.0.0.1" },
      "cuda-memory-pool-byte-size": { type: "string", multiple: true },
      "pinned-memory-pool-byte-size": { type: "string", multiple: true },
      "min-supported-compute-capability": { type: "string", multiple: true },
    },
  });
  const port = /^\d{1,5}$/.test(values.port) ? Number(values.port) : NaN;
  if (!(port <= 65535)) throw new Error(`--port: expected 0 to 65535, got "${values.port}"`);
  return { port, hostname: values.hostname };
}

function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}

async function main(argv: string[]): Promise<void> {
  const serviceOptions = parseServiceOptions(argv);
  using _managers = createMemoryManagers(parseMemoryOptions(argv));
  await using service = startTensorService(serviceOptions);
  console.log(service.url);
  await nextSignal();
}

if (import.meta.main) {
  await main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
  });
}
