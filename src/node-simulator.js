// As node.js, of the simulator.

if (process.versions.bun === undefined) {
  throw new Error(
    `bun-cuda-memory needs Bun, whose bun:ffi it calls its native library with; this is Node ${process.version}`,
  );
}

export const { CudartSimulator, simulatorLibraryPath } = await import("../dist/simulator.js");
