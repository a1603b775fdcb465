import { DemoFailure } from "./demo-failure.ts";

/** An answer of the gateway. */
export interface Answer {
  status: number;
  /** What it is refused with. */
  error: string | undefined;
  /** Of the bytes behind the JSON. */
  byteSize: number;
  sha256: string;
  seconds: number;
}

function sha256Of(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

export async function sha256OfFile(path: string): Promise<string> {
  return sha256Of(await Bun.file(path).bytes());
}

/** A client of the gateway, with the key of a tenant. */
export class GatewayClient {
  readonly #url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.#url = url;
    this.#key = key;
  }

  /** Sends a file to the model that gives its bytes back. */
  async identity(path: string): Promise<Answer> {
    const file = await Bun.file(path).bytes();
    const { byteLength } = file;
    const parameters = { binary_data_size: byteLength };
    const shape = [1, byteLength];
    const start = performance.now();
    const response = await this.#infer(
      "identity",
      {
        inputs: [{ name: "INPUT0", datatype: "UINT8", shape, parameters }],
        parameters: { binary_data_output: true },
      },
      file,
    );
    const body = await response.bytes();
    const seconds = (performance.now() - start) / 1000;
    const jsonByteSize = Number(response.headers.get("inference-header-content-length") ?? 0);
    const bytes = body.subarray(jsonByteSize);
    const isRefused = response.status !== 200;
    return {
      status: response.status,
      error: isRefused ? (JSON.parse(Buffer.from(body).toString()) as Answer).error : undefined,
      byteSize: isRefused ? 0 : bytes.byteLength,
      sha256: isRefused ? "" : sha256Of(bytes),
      seconds,
    };
  }

  /** The sums of two rows of numbers. */
  async sums(left: readonly number[], right: readonly number[]): Promise<number[]> {
    const input = (name: string, data: readonly number[]) => ({
      name,
      datatype: "INT32",
      shape: [1, data.length],
      data,
    });
    const inputs = [input("INPUT0", left), input("INPUT1", right)];
    const response = await this.#infer("simple", { inputs, outputs: [{ name: "OUTPUT0" }] });
    if (response.status !== 200) {
      throw new DemoFailure(`POST simple: ${response.status} ${await response.text()}`);
    }
    const { outputs } = (await response.json()) as { outputs: { data: number[] }[] };
    return outputs[0]!.data;
  }

  #infer(model: string, header: object, bytes = new Uint8Array()): Promise<Response> {
    const json = Buffer.from(JSON.stringify(header));
    return fetch(`${this.#url}v2/models/${model}/infer`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.#key}`,
        "inference-header-content-length": String(json.byteLength),
      },
      body: Buffer.concat([json, bytes]),
    });
  }
}
