// That the load on the tensor service notices whatever a service does wrong.

import { describe, expect, test } from "bun:test";
import { Load } from "../../bench/steps/service/load.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * What a load finds wrong with a service that keeps tensors in JS memory, and answers differently
 * where `spoil` says so.
 */
async function outcomeOfLoad(spoil: (method: string, stored: Bytes) => Response | undefined) {
  const tensors = new Map<string, Bytes>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch({ method, url, body }) {
      const stored = tensors.get(url);
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      if (method === "PUT") tensors.set(url, bytes);
      if (method === "DELETE") tensors.delete(url);
      const spoilt = spoil(method, (stored ?? bytes).slice());
      if (spoilt !== undefined) return spoilt;
      if (method === "GET") return new Response(stored);
      if (method === "DELETE") return new Response(null, { status: 204 });
      return Response.json({ byteSize: bytes.byteLength }, { status: stored ? 200 : 201 });
    },
  });
  const load = new Load(server.url.href, 3);
  await load.run(20);
  await load.deleteAll();
  await server.stop(true);
  const { sentCount, answered, failures, wrongByteCount } = load.outcome;
  expect(sentCount).toBe(answered.length + failures.length);
  const reasons = new Set(failures.map((failure) => failure.replace(/ .*Error: /, ": ")));
  const methods = new Set<string>(answered.map(({ method }) => method));
  return { reasons: [...reasons], wrongByteCount, answered: [...methods].sort() };
}

describe("the load on the service", () => {
  test("finds nothing wrong where all is well", async () => {
    const answered = ["DELETE", "GET", "PUT"];
    expect(await outcomeOfLoad(() => undefined)).toEqual({
      reasons: [],
      wrongByteCount: 0,
      answered,
    });
  });

  test.each<[string, (bytes: Bytes) => Bytes]>([
    ["changed", (bytes) => bytes.fill(bytes.at(-1)! ^ 1, -1)],
    ["is missing", (bytes) => bytes.subarray(0, -1)],
    ["is too many", (bytes) => new Uint8Array([...bytes, 0])],
  ])("notices a byte that %s", async (_what, change) => {
    let getCount = 0;
    const outcome = await outcomeOfLoad((method, stored) => {
      if (method !== "GET") return undefined;
      getCount++;
      return new Response(change(stored));
    });
    expect(getCount).toBeGreaterThan(0);
    expect(outcome).toEqual({
      reasons: ["GET: 1 bytes are wrong"],
      wrongByteCount: getCount,
      answered: ["DELETE", "PUT"],
    });
  });

  test("notices an answer of another status", async () => {
    const outcome = await outcomeOfLoad((method) =>
      method === "PUT" ? new Response("full", { status: 507 }) : undefined,
    );
    expect(outcome).toEqual({
      reasons: ["PUT: status 507: full"],
      wrongByteCount: 0,
      answered: [],
    });
  });
});
