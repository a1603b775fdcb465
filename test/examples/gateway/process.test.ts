// The gateway, run directly in a process of its own.

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSimulated } from "../../support/runtime.ts";
import { GatewayProcess, gatewayProgramPath } from "./gateway-process.ts";
import { keyOf, RawClient, tenants } from "./gateway-under-test.ts";

const MiB = 1024 ** 2;

describe("the gateway's process", () => {
  test.each([
    ["SIGTERM", "0"],
    ["SIGINT", "0"],
    ["SIGTERM", "3"],
  ] as const)("ends at %s when its requests have, with %s Workers", async (signal, workers) => {
    await using gateway = new GatewayProcess(["--workers", workers]);
    const { url } = await gateway.start();
    using client = await RawClient.connect(url);
    const bytes = new Uint8Array(MiB).fill(7);
    client.sendIdentity(bytes.byteLength, bytes.subarray(0, 1000));
    await Bun.sleep(100);
    gateway.kill(signal);
    await Bun.sleep(100);
    expect(fetch(`${url}v2/health/live`)).rejects.toThrow();
    client.sendBytes(bytes.subarray(1000));
    expect(await gateway.exited).toBe(0);
    expect(client.received.toString("latin1")).toStartWith("HTTP/1.1 200");
    expect(client.received.byteLength).toBeGreaterThan(bytes.byteLength);
  });

  test.each(["0", "2"])(
    "does not wait for those that never end, with %s Workers",
    async (workers) => {
      await using gateway = new GatewayProcess(["--grace-seconds", "1", "--workers", workers]);
      using client = await RawClient.connect((await gateway.start()).url);
      client.sendIdentity(MiB, new Uint8Array(1000));
      await Bun.sleep(100);
      gateway.kill("SIGTERM");
      expect(await gateway.exited).toBe(0);
    },
  );

  test("ends with an error when no Worker stays alive", async () => {
    const preload = join(import.meta.dir, "failing-workers.ts");
    const environment = { BUN_OPTIONS: `--preload ${preload}` };
    await using gateway = new GatewayProcess(["--workers", "1"], environment, "pipe");
    const lines = await gateway.errors();
    expect(await gateway.exited).toBe(2);
    expect(lines.filter((line) => line.includes("another takes its place"))).toHaveLength(2);
    expect(lines.at(-1)).toStartWith(
      "3 Workers have failed that had served nobody, the last with: ",
    );
  });

  test("says what it computes with", async () => {
    await using gateway = new GatewayProcess([]);
    const { computes } = await gateway.start();
    if (isSimulated) expect(computes).toContain("the host's processor (GPU 0 runs no kernel: ");
    else expect(computes).toContain("GPU 0");
    if (!isSimulated) return;
    await using none = new GatewayProcess([], { CUDART_SIM_DEVICES: "none" });
    expect((await none.start()).computes).toContain("the host's processor (no GPU has a pool)");
  });
});

describe("it refuses to start", () => {
  function run(...argv: string[]) {
    const child = Bun.spawnSync([process.execPath, gatewayProgramPath, ...argv], {
      env: { ...process.env }, // this includes the choice of a CUDA runtime
    });
    expect([child.exitCode, child.stdout.toString()]).toEqual([2, ""]);
    const lines = child.stderr.toString().trim().split("\n");
    expect(lines).toHaveLength(1);
    return lines[0]!;
  }

  function runWithTenants(content: string, ...argv: string[]) {
    const path = join(tmpdir(), `tenants-${process.pid}-${Bun.randomUUIDv7()}.json`);
    writeFileSync(path, content);
    try {
      return run("--tenants", path, ...argv);
    } finally {
      void Bun.file(path).delete();
    }
  }

  test("without tenants", () => {
    expect(run()).toContain("--tenants");
    expect(run("--tenants", "/absent.json")).toContain("--tenants /absent.json");
  });

  const [alpha] = tenants;

  test.each<[unknown, string]>([
    ["{", "JSON"],
    [{}, "array of tenants"],
    [[], "array of tenants"],
    [[null], '"name"'],
    [[{ ...alpha, name: "a b" }], '"name"'],
    [[{ ...alpha, key: "short" }], '"key" of alpha'],
    [[{ ...alpha, key: "with a space in it" }], '"key" of alpha'],
    [[{ ...alpha, limitByteSize: "1GiB" }], '"limitByteSize" of alpha'],
    [[{ ...alpha, limitByteSize: 0 }], '"limitByteSize" of alpha'],
    [[alpha, { ...alpha, key: "another-key-of-it" }], "the same name"],
    [[alpha, { ...alpha, name: "other" }], "the same key"],
  ])("with tenants like %p", (content, says) => {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    const line = runWithTenants(text);
    expect(line).toContain("--tenants ");
    expect(line).toContain(says);
  });

  test.each([
    ["--cuda-memory-pool-byte-size", "0:64XB"],
    ["--port", "http"],
    ["--prt", "1"],
    ["--grace-seconds", "1h"],
  ])("with %s %s", (option, value) => {
    expect(runWithTenants(JSON.stringify(tenants), option, value)).toContain(option);
  });

  test("where a Worker cannot listen", () => {
    using other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const port = String(other.port);
    const line = runWithTenants(JSON.stringify(tenants), "--workers", "2", "--port", port);
    expect(line).toContain(`Is port ${port} in use?`);
  });

  test("but with the tenants that it brings as an example it would", () => {
    const path = join(gatewayProgramPath, "../tenants.json");
    expect(JSON.parse(readFileSync(path, "utf8"))).toHaveLength(2);
    expect(run("--tenants", path, "--port", "http")).toContain("--port");
    expect(keyOf("alpha")).toBe(tenants[0].key);
  });
});
