import { logUniformByteSize, randomNumbers } from "../../../harness/workloads/random.ts";
import { Connections } from "./connection.ts";

// Requests of a tenant, drawn at random but the same in every run, and a look at all that comes back.

/** What became of many requests. */
export interface Outcome {
  sentCount: number;
  /** Of those that were answered as they must be, in milliseconds. */
  latencies: number[];
  /** Those that were told to come again, where there was no room. */
  refusedCount: number;
  /** One line for each request that was not answered as it must be. */
  failures: string[];
  /** Bytes that came back different, or not at all, or that nobody had sent. */
  wrongByteCount: number;
}

export function newOutcome(): Outcome {
  return { sentCount: 0, latencies: [], refusedCount: 0, failures: [], wrongByteCount: 0 };
}

/** How large the bodies are, log-uniformly. */
export interface BodySizes {
  byteSizeMin: number;
  byteSizeMax: number;
}

function differingByteCount(received: Uint8Array, expected: Uint8Array): number {
  if (Buffer.compare(received, expected) === 0) return 0;
  const length = Math.min(received.byteLength, expected.byteLength);
  let count = Math.abs(received.byteLength - expected.byteLength);
  for (let i = 0; i < length; i++) count += Number(received[i] !== expected[i]);
  return count;
}

/** An input whose bytes come behind the JSON. */
function binaryInput(name: string, datatype: "UINT8" | "INT32", tensor: Uint8Array): object {
  const { byteLength } = tensor;
  const elementCount = datatype === "INT32" ? byteLength / 4 : byteLength;
  const parameters = { binary_data_size: byteLength };
  return { name, datatype, shape: [1, elementCount], parameters };
}

/** The only input of the model that gives back what it is sent. */
export function identityInputs(tensor: Uint8Array): object[] {
  return [binaryInput("INPUT0", "UINT8", tensor)];
}

/** The JSON of a request for binary outputs, and the headers that it is sent with. */
export function inferHead(
  key: string,
  inputs: readonly object[],
): { json: Buffer; headers: Record<string, string> } {
  const json = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }));
  const headers = {
    authorization: `Bearer ${key}`,
    "inference-header-content-length": String(json.byteLength),
  };
  return { json, headers };
}

/** The requests of one tenant. */
export class Requests {
  readonly outcome = newOutcome();
  readonly #connections: Connections;
  readonly #key: string;
  readonly #random = randomNumbers(1);
  readonly #sizes: BodySizes;
  /** Tensors are cut out of this noise, so that two of them differ everywhere. */
  readonly #noise: Buffer;

  constructor(url: string, key: string, sizes: BodySizes) {
    this.#connections = new Connections(url);
    this.#key = key;
    this.#sizes = sizes;
    this.#noise = Buffer.alloc(2 * sizes.byteSizeMax);
    for (let offset = 0; offset < this.#noise.byteLength; offset += 4) {
      this.#noise.writeUInt32LE(Math.floor(this.#random() * 2 ** 32), offset);
    }
  }

  #tensor(): Uint8Array {
    const { byteSizeMin, byteSizeMax } = this.#sizes;
    const byteSize = 4 * Math.ceil(logUniformByteSize(this.#random, byteSizeMin, byteSizeMax) / 4);
    const offset = 4 * Math.floor((this.#random() * byteSizeMax) / 4);
    return this.#noise.subarray(offset, offset + Math.min(byteSize, byteSizeMax));
  }

  /** Sends a tensor to the model that gives it back. `since` is when it should have been sent. */
  async identity(since = performance.now()): Promise<void> {
    const tensor = this.#tensor();
    await this.#infer("identity", identityInputs(tensor), [tensor], [tensor], since);
  }

  /** Sends a row of numbers and zeros to the model that adds and subtracts. */
  async sums(since = performance.now()): Promise<void> {
    const row = this.#tensor();
    const { byteLength } = row;
    const inputs = ["INPUT0", "INPUT1"].map((name) => binaryInput(name, "INT32", row));
    await this.#infer("simple", inputs, [row, new Uint8Array(byteLength)], [row, row], since);
  }

  async #infer(
    model: string,
    inputs: object[],
    tensors: Uint8Array[],
    expected: Uint8Array[],
    since: number,
  ): Promise<void> {
    const { outcome } = this;
    outcome.sentCount++;
    try {
      const { json, headers: sentHeaders } = inferHead(this.#key, inputs);
      const { status, headers, body } = await this.#connections.post(
        `/v2/models/${model}/infer`,
        sentHeaders,
        Buffer.concat([json, ...tensors]),
      );
      if (status === 503 && /^retry-after:/im.test(headers)) {
        outcome.refusedCount++;
        return;
      }
      if (status !== 200) throw new Error(`status ${status}: ${Buffer.from(body).toString()}`);
      const milliseconds = performance.now() - since;
      const jsonLength = /^inference-header-content-length: (\d+)/im.exec(headers)?.[1];
      const jsonByteSize = Number(jsonLength);
      const wrong = differingByteCount(body.subarray(jsonByteSize), Buffer.concat(expected));
      outcome.wrongByteCount += wrong;
      if (wrong > 0) throw new Error(`${wrong} bytes are wrong`);
      outcome.latencies.push(milliseconds);
    } catch (error) {
      outcome.failures.push(`${model}: ${String(error)}`);
    }
  }
}

/**
 * Requests one after the other on each of several connections.
 *
 * @param isDone Asked before each request.
 */
export async function closedLoop(
  connectionCount: number,
  isDone: () => boolean,
  request: () => Promise<void>,
): Promise<void> {
  const connection = async () => {
    while (!isDone()) await request();
  };
  await Promise.all(Array.from({ length: connectionCount }, connection));
}

/**
 * Requests at a rate, whether the earlier ones are answered or not: a service that is slow has to
 * answer as many, and each latency counts from when its request should have been sent.
 */
export async function openLoop(
  perSecond: number,
  seconds: number,
  request: (since: number) => Promise<void>,
): Promise<void> {
  const start = performance.now();
  const requestCount = Math.max(1, Math.floor(perSecond * seconds));
  const sent: Promise<void>[] = [];
  while (sent.length < requestCount) {
    const due = start + (sent.length / perSecond) * 1000;
    // Not for less than a millisecond: that would be over before any answer is looked at.
    if (performance.now() < due) await Bun.sleep(1);
    else sent.push(request(due));
  }
  await Promise.all(sent);
}
