// That the load on the gateway notices whatever a gateway does wrong.

import { describe, expect, test } from "bun:test";
import { closedLoop, openLoop, Requests } from "../../bench/steps/gateway/requests.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * What a load finds wrong with a gateway of which only the outside is there, and which answers
 * differently where `spoil` says so.
 */
async function outcomeOfLoad(spoil: (model: string, answer: Bytes) => Response | undefined) {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const model = /models\/(\w+)\/infer$/.exec(request.url)![1]!;
      const body = await request.bytes();
      const jsonByteSize = Number(request.headers.get("inference-header-content-length"));
      const tensors = body.slice(jsonByteSize);
      const half = tensors.byteLength / 2;
      // Zeros are added and subtracted.
      if (model === "simple") tensors.copyWithin(half, 0, half);
      const headers = { "inference-header-content-length": "2" };
      const answer = Buffer.concat([Buffer.from("{}"), tensors]);
      return spoil(model, new Uint8Array(answer)) ?? new Response(answer, { headers });
    },
  });
  const sizes = { byteSizeMin: 1024, byteSizeMax: 8192 };
  const requests = new Requests(server.url.href, "key", sizes);
  let count = 0;
  await closedLoop(
    3,
    () => count++ >= 20,
    () => requests.sums(),
  );
  await openLoop(1000, 0.02, (since) => requests.identity(since));
  await server.stop(true);
  const { sentCount, latencies, failures, wrongByteCount } = requests.outcome;
  expect(sentCount).toBe(40);
  expect(sentCount).toBe(latencies.length + failures.length);
  return { answeredCount: latencies.length, reasons: [...new Set(failures)], wrongByteCount };
}

function answerOf(body: Bytes): Response {
  return new Response(body, { headers: { "inference-header-content-length": "2" } });
}

describe("the load on the gateway", () => {
  test("finds nothing wrong where all is well", async () => {
    expect(await outcomeOfLoad(() => undefined)).toEqual({
      answeredCount: 40,
      reasons: [],
      wrongByteCount: 0,
    });
  });

  test.each<[string, (bytes: Bytes) => Bytes]>([
    ["changed", (bytes) => bytes.fill(bytes.at(-1)! ^ 1, -1)],
    ["is missing", (bytes) => bytes.slice(0, -1)],
    ["is too many", (bytes) => new Uint8Array([...bytes, 0])],
  ])("notices a byte that %s", async (_what, change) => {
    const outcome = await outcomeOfLoad((model, body) =>
      model === "identity" ? answerOf(change(body)) : undefined,
    );
    expect(outcome).toEqual({
      answeredCount: 20,
      reasons: ["identity: Error: 1 bytes are wrong"],
      wrongByteCount: 20,
    });
  });

  test("notices an answer of another status", async () => {
    const outcome = await outcomeOfLoad((model) =>
      model === "simple" ? new Response("full", { status: 503 }) : undefined,
    );
    expect(outcome).toEqual({
      answeredCount: 20,
      reasons: ["simple: Error: status 503: full"],
      wrongByteCount: 0,
    });
  });

  test("counts the latency of an open loop from when a request was due", async () => {
    const waited: number[] = [];
    const start = performance.now();
    await openLoop(100, 0.05, async (since) => void waited.push(since - start));
    expect(waited).toHaveLength(5);
    for (const [index, milliseconds] of waited.entries()) {
      expect(milliseconds).toBeCloseTo(10 * index, 0);
    }
  });
});
