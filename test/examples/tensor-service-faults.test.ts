// The tensor service on a simulated GPU that is slow, or that fails.

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { CudartSimulator } from "../../src/simulator.ts";
import { resultOf, spawnBody } from "../support/process.ts";
import { isSimulated, resetAfterEach } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { errorOf, eventually, ServiceUnderTest } from "./service-under-test.ts";
import type * as serviceUnderTest from "./service-under-test.ts";

resetAfterEach();

const KiB = 1024;
const MiB = 1024 ** 2;

describe.skipIf(!isSimulated)("while a GPU copies", () => {
  afterEach(() => CudartSimulator.setDelay({}));

  test("64 uploads, the event loop goes on", async () => {
    // If the service used `write` instead of `writeAsync`, each copy would block the event loop.
    const copyMilliseconds = 20;
    await using under = new ServiceUnderTest();
    CudartSimulator.setDelay({ operationNs: copyMilliseconds * 1e6 });
    const tensors = Array.from({ length: 64 }, (_, seed) => patternBytes(256 * KiB, seed));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const puts = await Promise.all(tensors.map((bytes, index) => under.put(`t${index}`, bytes)));
    delay.disable();
    CudartSimulator.setDelay({});
    expect(puts.map(({ status }) => status)).toEqual(Array(64).fill(201));
    expect(delay.percentile(90) / 1e6).toBeLessThan(copyMilliseconds);
    for (const [index, bytes] of tensors.entries()) {
      expect(Bun.deepEquals(await under.get(`t${index}`), bytes)).toBe(true);
    }
  });

  // The memory must not be given to others while the GPU still writes to it, or reads from it.
  test.each(["upload", "download"])("memory of an interrupted %s is kept", async (what) => {
    await using under = new ServiceUnderTest();
    if (what === "download") await under.put("a", patternBytes(2 * MiB));
    CudartSimulator.setDelay({ operationNs: 300e6 });
    using client = await under.connect();
    const length = `Content-Length: ${2 * MiB}`;
    if (what === "upload") client.send(`PUT /tensors/a HTTP/1.1\n${length}`, patternBytes(MiB));
    else client.send("GET /tensors/a HTTP/1.1");
    await eventually(() => under.usedByteSizes().pinned > 0); // the GPU has begun to copy
    client[Symbol.dispose]();
    if (what === "download") await under.request("DELETE", "tensors/a");
    await Bun.sleep(50); // the service needs time to notice
    expect(under.usedByteSizes().cuda).toBe(2 * MiB);
    await eventually(() => Bun.deepEquals(under.usedByteSizes(), { cuda: 0, pinned: 0 }));
    expect((await under.stats()).tensors.count).toBe(0);
  });

  // The service stops while it reads the first piece, and while it reads a later one.
  test.each([30, 250])("the end of the service waits %d ms into a download", async (wait) => {
    await using under = new ServiceUnderTest();
    await under.put("a", patternBytes(8 * MiB));
    CudartSimulator.setDelay({ operationNs: 100e6 });
    using client = await under.connect();
    client.send("GET /tensors/a HTTP/1.1");
    await Bun.sleep(wait);
    await under.service.stop();
    expect(under.usedByteSizes()).toEqual({ cuda: 0, pinned: 0 });
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

  test.each(failures)(
    "%s, an upload is answered with the error, and the old tensor stays",
    async (_when, fail) => {
      await using under = new ServiceUnderTest();
      using consoleError = spyOn(console, "error").mockImplementation(() => {});
      await under.put("a", patternBytes(1000));
      fail(2);
      const response = await under.put("a", patternBytes(3 * MiB));
      expect(response.status).toBe(500);
      expect(await errorOf(response)).toContain("cudaErrorUnknown");
      expect(consoleError).toHaveBeenCalledTimes(1);
      expect(Bun.deepEquals(await under.get("a"), patternBytes(1000))).toBe(true);
      expect(under.usedByteSizes()).toEqual({ cuda: 1024, pinned: 0 });
    },
  );

  test.each(failures)("%s, a download is answered with the error", async (_when, fail) => {
    await using under = new ServiceUnderTest();
    using _quiet = spyOn(console, "error").mockImplementation(() => {});
    await under.put("a", patternBytes(3 * MiB));
    fail(1);
    const response = await under.request("GET", "tensors/a");
    expect(response.status).toBe(500);
    expect(await errorOf(response)).toContain("cudaErrorUnknown");
    expect(under.usedByteSizes()).toEqual({ cuda: 3 * MiB, pinned: 0 });
    expect(Bun.deepEquals(await under.get("a"), patternBytes(3 * MiB))).toBe(true);
  });

  test("a download that has begun is broken off, not ended short", () => {
    // This runs in a process of its own because Bun prints the error that breaks a stream off.
    const download = async ({ CudartSimulator, ServiceUnderTest }: typeof serviceUnderTest) => {
      await using under = new ServiceUnderTest();
      await under.put("a", new Uint8Array(3 * 1024 ** 2));
      CudartSimulator.failCall({ function: "cudaMemcpyAsync", nth: 2, error: "cudaErrorUnknown" });
      const response = await under.request("GET", "tensors/a");
      const outcome = await response.bytes().then(
        () => "all came",
        () => "broken off",
      );
      await under.request("DELETE", "tensors/a");
      return { status: response.status, outcome, used: under.usedByteSizes() };
    };
    const modulePath = join(import.meta.dir, "service-under-test.ts");
    const result: unknown = resultOf(spawnBody(modulePath, download, {}));
    expect(result).toEqual({ status: 200, outcome: "broken off", used: { cuda: 0, pinned: 0 } });
  });
});
