// However often the package is loaded into a process, there is one set of pools.

import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
const folder = mkdtempSync(join(tmpdir(), "bun-cuda-memory-copies-"));
afterAll(() => rmSync(folder, { recursive: true }));

const environment = {
  ...process.env,
  BUN_CUDA_MEMORY_CUDART: join(root, "build/libcudart_sim.so"),
  CUDART_SIM_DEVICES: "8.0:1073741824",
};

/** Copies the package as it would be installed, with a library of its own. */
function copyPackage(name: string): string {
  const copy = join(folder, name);
  for (const part of [
    "src",
    "build/libbun_cuda_memory.so",
    "build/libcudart_sim.so",
    "package.json",
  ])
    cpSync(join(root, part), join(copy, part), { recursive: true });
  mkdirSync(join(copy, "c"), { recursive: true });
  cpSync(join(root, "c/bun_cuda_memory.h"), join(copy, "c/bun_cuda_memory.h"));
  return copy;
}

function run(program: string, name: string, ...flags: string[]) {
  const path = join(folder, `${name}.ts`);
  writeFileSync(path, program);
  const child = Bun.spawnSync([process.execPath, ...flags, path], { env: environment });
  return { stdout: child.stdout.toString(), stderr: child.stderr.toString() };
}

const first = copyPackage("first");
const second = copyPackage("second");

describe("two copies of one version", () => {
  test("share the pools, and each other's memories and streams work", () => {
    const { stdout, stderr } = run(
      `
      import * as a from ${JSON.stringify(join(first, "src/index.ts"))};
      import * as b from ${JSON.stringify(join(second, "src/index.ts"))};
      a.createMemoryManagers({ pinnedMemoryPoolByteSize: 1 << 20 });
      const x = new a.AllocatedMemory(4096, "GPU");
      const y = new b.AllocatedMemory(4096, "GPU");
      const stream = new b.CudaStream();
      x.fill(5);
      a.copyBuffer(y, x, { stream });
      await stream.finished();
      b.copyBuffer(x, y);
      const bytes = new Uint8Array(4096);
      y.read(bytes);
      const host = new a.AllocatedMemory(1024, "CPU_PINNED");
      await y.writeAsync(host.bytes, 0, { stream });
      x.free(stream);
      const attached = b.AllocatedMemory.attach(new a.AllocatedMemory(512, "GPU").detach());
      attached.free();
      host.free();
      y.free();
      await stream.finished();
      console.log(JSON.stringify([
        a.CudaMemoryManager.stats(0).allocationCount,
        b.CudaMemoryManager.stats(0).allocationCount,
        bytes.every((byte) => byte === 5),
        b.PinnedMemoryManager.totalByteSize,
      ]));
      `,
      "shared",
    );
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual([0, 0, true, 1 << 20]);
  });

  test("copy between each other's parts, and what somebody else owns", () => {
    const { stdout, stderr } = run(
      `
      import { ptr } from "bun:ffi";
      import * as a from ${JSON.stringify(join(first, "src/index.ts"))};
      import * as b from ${JSON.stringify(join(second, "src/index.ts"))};
      a.createMemoryManagers({ pinnedMemoryPoolByteSize: 1 << 20 });
      const whole = new a.AllocatedMemory(4096, "GPU");
      const part = whole.subarray(1024, 2048);
      const own = new Uint8Array(new ArrayBuffer(1024));
      using borrowed = new a.MutableMemory({ pointer: ptr(own), byteSize: 1024, memoryType: "CPU" });
      part.fill(3);
      b.copyBuffer(borrowed, part);
      whole.free();
      let code = "";
      try { b.copyBuffer(borrowed, part) } catch (error) { code = error.code }
      console.log(JSON.stringify([own.every((byte) => byte === 3), code]));
      `,
      "parts",
    );
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual([true, "UNAVAILABLE"]);
  });

  test("take each other's views away", () => {
    const { stdout } = run(
      `
      import * as a from ${JSON.stringify(join(first, "src/index.ts"))};
      import * as b from ${JSON.stringify(join(second, "src/index.ts"))};
      a.PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1 << 20 });
      const memory = new a.AllocatedMemory(4096, "CPU_PINNED");
      const { bytes } = memory;
      b.PinnedMemoryManager.reset();
      let code = "";
      try { memory.bytes } catch (error) { code = error.code }
      console.log(JSON.stringify([code, bytes.length]));
      `,
      "views",
    );
    expect(JSON.parse(stdout)).toEqual(["UNAVAILABLE", 0]);
  });
});

test("a copy of another version has pools of its own, and says so once", () => {
  const other = copyPackage("other");
  const compiled = Bun.spawnSync(
    [
      "sh",
      "-c",
      `sed 's/MEMORY_VERSION "[^"]*"/MEMORY_VERSION "9.9.9"/' c/bun_cuda_memory.h > "$0/bun_cuda_memory.h" &&
       cp -r c/pool c/cuda c/memory c/*.c c/cc-options "$0" &&
       rm -f "$0"/c.tmp; cp -n c/message.h c/owner.h c/whole_number.h "$0" &&
       cc -shared @"$0/cc-options" -iquote "$0" "$0"/*.c "$0"/*/*.c -ldl -lpthread -o "$1"`,
      join(other, "c"),
      join(other, "build/libbun_cuda_memory.so"),
    ],
    { cwd: root },
  );
  expect(compiled.stderr.toString()).toBe("");
  writeFileSync(join(other, "src/native/version.ts"), 'export const packageVersion = "9.9.9";\n');
  const { stdout, stderr } = run(
    `
    import * as a from ${JSON.stringify(join(first, "src/index.ts"))};
    import * as b from ${JSON.stringify(join(other, "src/index.ts"))};
    a.PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1 << 20 });
    b.PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 2 << 20 });
    console.log(JSON.stringify([
      a.PinnedMemoryManager.totalByteSize,
      b.PinnedMemoryManager.totalByteSize,
    ]));
    `,
    "versions",
  );
  expect(JSON.parse(stdout)).toEqual([1 << 20, 2 << 20]);
  expect(stderr.match(/9\.9\.9/g)).toHaveLength(1);
}, 60_000);

test("the collector's promise outlives a hot reload", async () => {
  const path = join(folder, "hot.ts");
  const link = join(folder, "package");
  symlinkSync(first, link);
  const program = (version: number) => `
    import * as pkg from ${JSON.stringify(join(link, "src/index.ts"))};
    if (!globalThis.isMade) {
      globalThis.isMade = true;
      pkg.createMemoryManagers({ pinnedMemoryPoolByteSize: 1 << 20 });
    }
    globalThis.kept ??= new pkg.AllocatedMemory(4096, "GPU");
    export let dropped = new pkg.AllocatedMemory(1 << 20, "GPU");
    pkg.copyBuffer(dropped, globalThis.kept);
    for (let i = 0; i < 20; i++) { Bun.gc(true); await Bun.sleep(2); }
    console.log("version ${version}: " + pkg.CudaMemoryManager.stats(0).allocationCount);
    globalThis.timer ??= setInterval(Function(""), 1000); // which keeps no module
  `;
  writeFileSync(path, program(1));
  const child = Bun.spawn([process.execPath, "--hot", path], {
    env: environment,
    stdout: "pipe",
    stderr: "pipe",
  });
  const decoder = new TextDecoder();
  let output = "";
  const reader = child.stdout.getReader();
  const until = async (text: string) => {
    while (!output.includes(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`it ended: ${output} ${await new Response(child.stderr).text()}`);
      output += decoder.decode(value);
    }
  };
  for (let version = 1; version <= 6; version++) {
    await until(`version ${version}: `);
    if (version < 6) writeFileSync(path, program(version + 1));
  }
  child.kill();
  const stderr = await new Response(child.stderr).text();
  // The newest one and the one before it may still be referred to.
  const last = Number(/version 6: (\d+)/.exec(output)![1]);
  expect(last).toBeLessThanOrEqual(4);
  expect(stderr).toContain("1048576 bytes");
}, 30_000);
