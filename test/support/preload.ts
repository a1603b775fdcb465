// Runs before every test file: builds what the tests need and chooses the CUDA runtime, which is
// the simulator unless the environment names another.

import { dlopen } from "bun:ffi";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

function build(): void {
  const make = Bun.which("make");
  if (make === null) throw new Error("the tests need make, to build the native libraries");
  const { exitCode, stderr } = Bun.spawnSync([make, "-s", "all"], {
    cwd: root,
    env: { ...process.env, BUN: process.execPath },
  });
  if (exitCode !== 0) throw new Error(`building the native libraries failed:\n${stderr}`);
}

/** Also sets it where C's getenv() looks, which assigning to process.env does not. */
function setDefault(name: string, value: string): void {
  if (process.env[name] !== undefined) return;
  process.env[name] = value;
  const libc = dlopen("libc.so.6", { setenv: { args: ["ptr", "ptr", "i32"], returns: "i32" } });
  const text = new TextEncoder();
  libc.symbols.setenv(text.encode(`${name}\0`), text.encode(`${value}\0`), 1);
}

build();
if (process.env["BUN_CUDA_MEMORY_TEST_RUNTIME"] !== "real") {
  setDefault("BUN_CUDA_MEMORY_CUDART", join(root, "build/libcudart_sim.so"));
  // Two supported GPUs, one of them larger than this machine's memory, and one that is too old.
  setDefault("CUDART_SIM_DEVICES", "8.0:1073741824,9.0:85899345920,5.2:1073741824");
}
