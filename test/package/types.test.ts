// What type checkers make of the package, under flags of their users'.

import { expect, test } from "bun:test";
import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Consumer, outputOf, repository, run, tarballPath } from "./consumer.ts";

const consumer = await Consumer.install();
const { folder } = consumer;

/** Development dependencies of every TypeScript project for Bun. */
for (const name of ["bun-types", "@types", "undici-types"]) {
  symlinkSync(join(repository, "node_modules", name), join(folder, "node_modules", name));
}

consumer.write({
  "consumer.ts": `
    import { AllocatedMemory, createMemoryManagers, MemoryError, type PoolStats } from "bun-cuda-memory";
    import { copyBuffer, CudaMemoryManager, CudaStream, type MemoryType, PinnedMemoryManager } from "bun-cuda-memory";
    import { CudartSimulator, simulatorLibraryPath } from "bun-cuda-memory/simulator";

    using managers: Disposable = createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1024 } });
    using memory = new AllocatedMemory(1024, "GPU", 0);
    const memoryType: MemoryType = memory.memoryType;
    const stats: PoolStats = CudaMemoryManager.stats(0);
    const isFull = (error: unknown) => error instanceof MemoryError && error.code === "OUT_OF_MEMORY";

    /** An option that its user may have, or not. */
    function withOptional(number?: number, boolean?: boolean, stream?: CudaStream) {
      createMemoryManagers({
        cudaMemoryPoolByteSize: undefined,
        pinnedMemoryPoolByteSize: number,
        minSupportedComputeCapability: number,
        enablePeerAccess: boolean,
        required: boolean,
      });
      CudaMemoryManager.create({ minSupportedComputeCapability: number, memoryPoolByteSize: undefined });
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: number });
      PinnedMemoryManager.alloc(8, { allowNonpinnedFallback: boolean });
      copyBuffer(memory, new AllocatedMemory(8, "GPU", number, { stream }), {
        targetOffset: number,
        sourceOffset: number,
        byteSize: number,
        stream,
      });
      void memory.writeAsync(new SharedArrayBuffer(8), number, { stream });
      void memory.readAsync(new ArrayBuffer(8), number, { stream });
      memory.free(stream);
    }
    memory.write(new SharedArrayBuffer(8));
    memory.read(new ArrayBuffer(8));
    memory.read(new SharedArrayBuffer(8));

    CudartSimulator.failCall({ function: "cudaMalloc", error: 2 });
    const path: string = simulatorLibraryPath;

    // @ts-expect-error: there is no such kind of memory
    new AllocatedMemory(1024, "DISK");
    // @ts-expect-error: a size is a number
    new AllocatedMemory("1024", "GPU");
    // @ts-expect-error: an error has a known code
    if (new MemoryError("INTERNAL", "").code === "FULL") throw new Error();
    // @ts-expect-error: the simulator has no such function
    CudartSimulator.callCount("cudaMallok");
    // @ts-expect-error: not public
    import { locationOf } from "bun-cuda-memory";
    export { isFull, locationOf, withOptional, memoryType, path, stats };
  `,
});

/** Type checkers read a library's declarations under the flags of the program that uses it. */
const strict = {
  target: "ESNext",
  lib: ["ESNext"],
  types: ["bun-types"],
  noEmit: true,
  strict: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noImplicitOverride: true,
  noPropertyAccessFromIndexSignature: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
};

test.each([
  ["Bun's resolution", { module: "Preserve", moduleResolution: "bundler" }],
  [
    "Bun's condition",
    { module: "Preserve", moduleResolution: "bundler", customConditions: ["bun"] },
  ],
  ["Node's resolution", { module: "NodeNext", moduleResolution: "NodeNext" }],
])("tsc --strict with %s", async (_, resolution) => {
  consumer.write({
    "package.json": JSON.stringify({ type: "module" }),
    "tsconfig.json": JSON.stringify({ compilerOptions: { ...strict, ...resolution } }),
  });
  const tsc = join(repository, "node_modules/typescript/bin/tsc");
  const files = await outputOf(["bun", tsc, "--listFiles", "-p", "."], folder);
  expect(files).toContain("bun-cuda-memory/dist/index.d.ts");
  expect(files).not.toContain("bun-cuda-memory/src/");
});

test.each([
  ["Bun's resolution", { module: "Preserve", moduleResolution: "bundler" }],
  ["Node's resolution", { module: "NodeNext", moduleResolution: "NodeNext" }],
])("tsc --strict with %s, of a package from git, which has no dist/", async (_, resolution) => {
  const fromGit = consumer.copy();
  rmSync(join(fromGit.packageFolder, "dist"), { recursive: true });
  // As `bun init` writes it: the package's sources import each other with their extensions.
  const compilerOptions = { ...strict, allowImportingTsExtensions: true, ...resolution };
  fromGit.write({
    "package.json": JSON.stringify({ type: "module" }),
    "tsconfig.json": JSON.stringify({ compilerOptions }),
  });
  const tsc = join(repository, "node_modules/typescript/bin/tsc");
  const files = await outputOf(["bun", tsc, "--listFiles", "-p", "."], fromGit.folder);
  expect(files).toContain("bun-cuda-memory/src/index.ts");
});

test("bun check", async () => {
  const compilerOptions = { ...strict, module: "Preserve", moduleResolution: "bundler" };
  consumer.write({ "tsconfig.json": JSON.stringify({ compilerOptions }) });
  expect((await run(["bun", "check"], folder)).exitCode).toBe(0);
  consumer.write({
    "wrong.ts": `import { AllocatedMemory } from "bun-cuda-memory";\nnew AllocatedMemory();`,
  });
  expect((await run(["bun", "check"], folder)).exitCode).not.toBe(0);
});

const tool = (path: string) => join(repository, "tools/node_modules", path);

test("publint finds nothing", async () => {
  const publint = tool("publint/src/cli.js");
  expect(await outputOf(["bun", publint, tarballPath, "--strict"], folder)).toContain("All good!");
});

test("@arethetypeswrong/cli finds nothing for ES modules", async () => {
  // Not for Node's CommonJS: Node has no bun:ffi. Bun requires the package as it imports it.
  const attw = tool("@arethetypeswrong/cli/dist/index.js");
  await outputOf(["bun", attw, tarballPath, "--profile", "esm-only"], folder);
  expect((await run(["bun", attw, tarballPath, "--profile", "strict"], folder)).exitCode).toBe(1);
});
