// The gateway on a simulated GPU that is slow, or that fails.

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { CudartSimulator } from "../../../src/simulator.ts";
import { expectSame } from "../../support/expectations.ts";
import { resultOf, spawnBody } from "../../support/process.ts";
import { isSimulated, resetAfterEach } from "../../support/runtime.ts";
import { patternBytes } from "../../support/values.ts";
import { eventually, GatewayUnderTest } from "./gateway-under-test.ts";
import type * as gatewayUnderTest from "./gateway-under-test.ts";

resetAfterEach();

const KiB = 1024;
const MiB = 1024 ** 2;

const nothing = { alpha: 0, beta: 0 };

describe.skipIf(!isSimulated)("while a GPU copies", () => {
  afterEach(() => CudartSimulator.setDelay({}));

  test("for 64 requests, the event loop goes on", async () => {
    // If the gateway used `write` instead of `writeAsync`, each copy would block the event loop.
    const copyMilliseconds = 20;
    await using under = new GatewayUnderTest();
    CudartSimulator.setDelay({ operationNs: copyMilliseconds * 1e6 });
    const tensors = Array.from({ length: 64 }, (_, seed) => patternBytes(256 * KiB, seed));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const answers = await Promise.all(tensors.map((bytes) => under.identity(bytes)));
    delay.disable();
    CudartSimulator.setDelay({});
    expect(delay.percentile(90) / 1e6).toBeLessThan(copyMilliseconds);
    for (const [index, { status, bytes }] of answers.entries()) {
      expect(status).toBe(200);
      expectSame(bytes["OUTPUT0"]!, tensors[index]!);
    }
  });

  // It must not be given to others while the GPU still writes to it.
  test("memory of a request that is cut off stays until the GPU is done", async () => {
    await using under = new GatewayUnderTest();
    const blockCount = under.blockCount();
    CudartSimulator.setDelay({ operationNs: 300e6 });
    using client = await under.connect();
    client.sendIdentity(2 * MiB, patternBytes(MiB));
    await eventually(() => under.blockCount() > blockCount + 1); // memory, and staging
    client[Symbol.dispose]();
    await Bun.sleep(50); // the gateway needs time to notice
    expect(under.blockCount()).toBeGreaterThan(blockCount);
    await eventually(() => under.blockCount() === blockCount);
    expect(under.usedByteSizes()).toEqual(nothing);
  });
});

describe.skipIf(!isSimulated)("where CUDA fails", () => {
  // The call fails, or the copy fails later, when the GPU makes it.
  const failures = [
    ["at once", (nth: number) => failCopyCall(nth)],
    ["later", (nth: number) => CudartSimulator.failOperation({ nth, error: "cudaErrorUnknown" })],
  ] as const;

  function failCopyCall(nth: number): void {
    CudartSimulator.failCall({ function: "cudaMemcpyAsync", nth, error: "cudaErrorUnknown" });
  }

  test.each(failures)("%s, the answer is 500, and tells nothing of it", async (_when, fail) => {
    await using under = new GatewayUnderTest();
    using consoleError = spyOn(console, "error").mockImplementation(() => {});
    for (const nth of [1, 2]) {
      fail(nth); // on its way in, and out
      const { status, json } = await under.identity(patternBytes(1000));
      expect([status, json.error]).toEqual([500, "internal error"]);
      expect(String(consoleError.mock.lastCall)).toContain("cudaErrorUnknown");
      expect(under.usedByteSizes()).toEqual(nothing);
    }
    expect((await under.identity(patternBytes(1000))).status).toBe(200);
  });

  test("an answer that has begun is broken off, not ended short", () => {
    // This runs in a process of its own because Bun prints the error that breaks a stream off.
    const infer = async ({
      CudartSimulator,
      GatewayUnderTest,
      eventually,
    }: typeof gatewayUnderTest) => {
      await using under = new GatewayUnderTest();
      const byteSize = 32 * 1024 ** 2;
      using client = await under.connect();
      client.sendIdentity(byteSize, new Uint8Array(byteSize));
      await eventually(() => client.received.byteLength > 0);
      client.pause();
      CudartSimulator.failCall({ function: "cudaMemcpyAsync", nth: 1, error: "cudaErrorUnknown" });
      client.resume();
      await eventually(() => client.isClosed);
      return { isWhole: client.isChunkedBodyDone, used: under.usedByteSizes() };
    };
    const modulePath = join(import.meta.dir, "gateway-under-test.ts");
    const result: unknown = resultOf(spawnBody(modulePath, infer, {}));
    expect(result).toEqual({ isWhole: false, used: nothing });
  });
});
