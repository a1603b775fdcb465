import type { TensorDescription } from "../../../examples/tensor-service/tensor-service.ts";
import { logUniformByteSize, randomNumbers } from "../../../harness/workloads/random.ts";

// Clients of the tensor service that each do one request after the other, drawn at random but the
// same in every run, and look at everything that comes back.

const KiB = 1024;
const MiB = 1024 ** 2;
const bodyByteSizeMin = 4 * KiB;
const bodyByteSizeMax = 4 * MiB;

/** The number of names that each client gives its tensors. */
const nameCount = 4;

/** A request that takes longer counts as failed. */
const requestMillisecondsMax = 60_000;

export const methods = ["PUT", "GET", "DELETE"] as const;
export type Method = (typeof methods)[number];

/** A request that was answered as it must be. */
export interface Answered {
  method: Method;
  milliseconds: number;
  /** The size of the body that was sent or received. */
  byteSize: number;
}

/** What became of many requests. */
export interface Outcome {
  sentCount: number;
  answered: Answered[];
  /** One line for each request that was not answered as it must be. */
  failures: string[];
  /** Bytes that came back different, or not at all, or that nobody had sent. */
  wrongByteCount: number;
}

/** Bodies are cut out of this noise, so that two of them differ everywhere. */
const noise = Buffer.alloc(2 * bodyByteSizeMax);
const random = randomNumbers(1);
for (let offset = 0; offset < noise.byteLength; offset += 4) {
  noise.writeUInt32LE(Math.floor(random() * 2 ** 32), offset);
}

function differingByteCount(received: Uint8Array, expected: Uint8Array): number {
  if (Buffer.compare(received, expected) === 0) return 0;
  const length = Math.min(received.byteLength, expected.byteLength);
  let count = Math.abs(received.byteLength - expected.byteLength);
  for (let i = 0; i < length; i++) count += Number(received[i] !== expected[i]);
  return count;
}

/** One client, with tensors of its own. */
class Client {
  readonly #url: string;
  readonly #number: number;
  readonly #random: () => number;
  readonly #outcome: Outcome;
  /** The bodies that the service must have, by name. */
  readonly #stored = new Map<string, Uint8Array<ArrayBuffer>>();

  constructor(url: string, number: number, outcome: Outcome) {
    this.#url = url;
    this.#number = number;
    this.#random = randomNumbers(number + 2);
    this.#outcome = outcome;
  }

  /** Of ten requests four store a tensor, five fetch one and one deletes one, on average. */
  async requestAnything(): Promise<void> {
    const draw = this.#random();
    const name = `client-${this.#number}-${Math.floor(this.#random() * nameCount)}`;
    if (draw < 0.4 || !this.#stored.has(name)) await this.#put(name);
    else if (draw < 0.9) await this.#get(name);
    else await this.#delete(name);
  }

  async deleteAll(): Promise<void> {
    for (const name of this.#stored.keys()) await this.#delete(name);
  }

  #newBody(): Uint8Array<ArrayBuffer> {
    const byteSize = logUniformByteSize(this.#random, bodyByteSizeMin, bodyByteSizeMax);
    const offset = Math.floor(this.#random() * bodyByteSizeMax);
    return noise.subarray(offset, offset + byteSize);
  }

  async #put(name: string): Promise<void> {
    const body = this.#newBody();
    const status = this.#stored.has(name) ? 200 : 201;
    await this.#request("PUT", name, status, body, async (response) => {
      this.#stored.set(name, body);
      const { byteSize } = (await response.json()) as TensorDescription;
      if (byteSize !== body.byteLength) throw new Error(`${byteSize} bytes were stored`);
      return byteSize;
    });
  }

  async #get(name: string): Promise<void> {
    await this.#request("GET", name, 200, null, async (response) => {
      const received = await response.bytes();
      const wrongByteCount = differingByteCount(received, this.#stored.get(name)!);
      this.#outcome.wrongByteCount += wrongByteCount;
      if (wrongByteCount > 0) throw new Error(`${wrongByteCount} bytes are wrong`);
      return received.byteLength;
    });
  }

  async #delete(name: string): Promise<void> {
    await this.#request("DELETE", name, 204, null, async () => {
      this.#stored.delete(name);
      return 0;
    });
  }

  /** @param take Takes the answer, and returns how many bytes were sent or received. */
  async #request(
    method: Method,
    name: string,
    status: number,
    body: Uint8Array<ArrayBuffer> | null,
    take: (response: Response) => Promise<number>,
  ): Promise<void> {
    this.#outcome.sentCount++;
    const start = performance.now();
    try {
      const signal = AbortSignal.timeout(requestMillisecondsMax);
      const response = await fetch(`${this.#url}tensors/${name}`, { method, body, signal });
      if (response.status !== status) {
        throw new Error(`status ${response.status}: ${await response.text()}`);
      }
      const byteSize = await take(response);
      const milliseconds = performance.now() - start;
      this.#outcome.answered.push({ method, milliseconds, byteSize });
    } catch (error) {
      this.#outcome.failures.push(`${method} ${name}: ${String(error)}`);
    }
  }
}

/** Many clients at once. */
export class Load {
  /** What became of all requests so far. */
  readonly outcome: Outcome = { sentCount: 0, answered: [], failures: [], wrongByteCount: 0 };
  readonly #clients: Client[];

  /** @param url Where the service listens. */
  constructor(url: string, clientCount: number) {
    this.#clients = Array.from(
      { length: clientCount },
      (_, number) => new Client(url, number, this.outcome),
    );
  }

  /** Lets each client make this many requests. */
  async run(requestCountPerClient: number): Promise<void> {
    const runClient = async (client: Client) => {
      for (let i = 0; i < requestCountPerClient; i++) await client.requestAnything();
    };
    await Promise.all(this.#clients.map(runClient));
  }

  /** Lets each client delete all of its tensors. */
  async deleteAll(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.deleteAll()));
  }
}
