// The gateway and NVIDIA's own client, which scripts/install-tritonclient.sh puts into build/.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { GatewayProcess } from "./gateway-process.ts";
import { keyOf } from "./gateway-under-test.ts";

const installed = join(import.meta.dir, "../../../build/tritonclient");
const program = join(import.meta.dir, "nvidia-client.py");

async function runClient(url: string): Promise<void> {
  const child = Bun.spawn(["python3", program, new URL(url).host, keyOf("alpha")], {
    env: { ...process.env, PYTHONPATH: installed },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const stderr = await new Response(child.stderr).text();
  expect([await child.exited, stderr]).toEqual([0, ""]);
}

describe.skipIf(!existsSync(installed))("NVIDIA's client", () => {
  test("does all it can with a GPU's memory", async () => {
    await using gateway = new GatewayProcess([]);
    await runClient((await gateway.start()).url);
  }, 30_000);

  test("does all it can with Workers", async () => {
    await using gateway = new GatewayProcess(["--workers", "2"]);
    await runClient((await gateway.start()).url);
  }, 30_000);

  test("does all it can without a GPU", async () => {
    await using gateway = new GatewayProcess([], { CUDART_SIM_DEVICES: "none" });
    const { url, computes } = await gateway.start();
    expect(computes).toContain("host");
    await runClient(url);
  }, 30_000);
});
