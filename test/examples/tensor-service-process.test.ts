// The tensor service, run directly in a process of its own.

import { describe, expect, test } from "bun:test";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServiceStats } from "../../examples/tensor-service/tensor-service.ts";
import { ServiceProcess, serviceProgramPath } from "./service-process.ts";

const KiB = 1024;
const MiB = 1024 ** 2;

describe("the service's process", () => {
  const byteSize = 256 * MiB;
  // Much more than the service needs by itself, and much less than a body.
  const growthByteSizeMax = 64 * MiB;

  function residentByteSize(pid: number): number {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]) * KiB;
  }

  /** How much larger a process was at some time while `action` ran than before. */
  async function growthByteSize(pid: number, action: () => Promise<void>): Promise<number> {
    const before = residentByteSize(pid);
    let most = before;
    const timer = setInterval(() => (most = Math.max(most, residentByteSize(pid))), 5);
    try {
      await action();
    } finally {
      clearInterval(timer);
    }
    return most - before;
  }

  test("is no larger for a large tensor, however slow the GPU", async () => {
    const path = join(tmpdir(), `tensor-${process.pid}`);
    await using _file = { [Symbol.asyncDispose]: () => Bun.file(path).delete() };
    writeFileSync(path, "");
    truncateSync(path, byteSize); // a sparse file: zeros that take no disk space
    await using child = new ServiceProcess(["--cuda-memory-pool-byte-size", `0:${byteSize}`], {
      CUDART_SIM_NS_PER_BYTE: "2", // slower than the network: 500 MB/s
    });
    const url = `${await child.url()}tensors/a`;
    const put = async () => {
      const response = await fetch(url, { method: "PUT", body: Bun.file(path) });
      expect(await response.json()).toMatchObject({ byteSize, memoryType: "GPU" });
    };
    const get = async () => {
      let receivedByteSize = 0;
      for await (const chunk of (await fetch(url)).body!) receivedByteSize += chunk.byteLength;
      expect(receivedByteSize).toBe(byteSize);
    };
    // The simulated GPU's memory belongs to the process. The first upload makes it resident, so
    // that it does not count as growth.
    await put();
    await fetch(url, { method: "DELETE" });
    expect(await growthByteSize(child.pid, put)).toBeLessThan(growthByteSizeMax);
    expect(await growthByteSize(child.pid, get)).toBeLessThan(growthByteSizeMax);
  }, 30_000);
});

describe("run directly", () => {
  test("it prints its address, serves, and ends when it is told to", async () => {
    await using child = new ServiceProcess(["--cuda-memory-pool-byte-size", "0:1MiB"]);
    const stats = (await (await fetch(`${await child.url()}stats`)).json()) as ServiceStats;
    expect(stats.cuda["0"]!.capacityByteSize).toBe(MiB);
    expect(await child.end()).toBe(0);
  });

  test.each([
    ["--cuda-memory-pool-byte-size", "0:64XB"],
    ["--port", "http"],
    ["--prt", "1"],
  ])("it refuses %s %s", (option, value) => {
    const argv = [process.execPath, serviceProgramPath, option!, value!];
    const { exitCode, stdout, stderr } = Bun.spawnSync(argv);
    expect([exitCode, stdout.toString()]).toEqual([2, ""]);
    expect(stderr.toString()).toContain(option!);
    expect(stderr.toString().trim().split("\n")).toHaveLength(1);
  });
});
