import type { ServiceStats, TensorDescription } from "../examples/tensor-service/tensor-service.ts";
import { DemoFailure } from "./demo-failure.ts";

/** A body that was received. */
export interface Transfer {
  sha256: string;
  byteSize: number;
  seconds: number;
}

async function sha256Of(stream: ReadableStream<Uint8Array>): Promise<Omit<Transfer, "seconds">> {
  const hasher = new Bun.CryptoHasher("sha256");
  let byteSize = 0;
  for await (const chunk of stream) {
    hasher.update(chunk);
    byteSize += chunk.byteLength;
  }
  return { sha256: hasher.digest("hex"), byteSize };
}

/** Computes the checksum of a file, which is never in memory as a whole. */
export async function sha256OfFile(path: string): Promise<string> {
  return (await sha256Of(Bun.file(path).stream())).sha256;
}

/** A client of the tensor service. Every answer that is not a success is a failure. */
export class TensorClient {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async upload(name: string, path: string): Promise<TensorDescription & { seconds: number }> {
    const start = performance.now();
    const response = await this.#request("PUT", `tensors/${name}`, Bun.file(path));
    const description = (await response.json()) as TensorDescription;
    return { ...description, seconds: (performance.now() - start) / 1000 };
  }

  /** Downloads and hashes chunk by chunk; `seconds` is the time that both take. */
  async download(name: string): Promise<Transfer> {
    const start = performance.now();
    const response = await this.#request("GET", `tensors/${name}`);
    const received = await sha256Of(response.body ?? new Blob([]).stream());
    return { ...received, seconds: (performance.now() - start) / 1000 };
  }

  async delete(name: string): Promise<void> {
    await this.#request("DELETE", `tensors/${name}`);
  }

  async stats(): Promise<ServiceStats> {
    return (await (await this.#request("GET", "stats")).json()) as ServiceStats;
  }

  async #request(method: string, path: string, body?: Blob): Promise<Response> {
    const response = await fetch(this.#url + path, { method, ...(body && { body }) });
    if (response.ok) return response;
    throw new DemoFailure(`${method} ${path}: ${response.status} ${await response.text()}`);
  }
}
