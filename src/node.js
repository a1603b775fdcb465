// What is imported in the package's place where a tool or a program takes Node's condition. Under
// Node that is an error which says why, in the place of one about the scheme bun: or a syntax. Under
// Bun, for which such a tool may have bundled, it is the package; and tools that trace files follow
// the import to what the package has.

if (process.versions.bun === undefined) {
  throw new Error(
    `bun-cuda-memory needs Bun, whose bun:ffi it calls its native library with; this is Node ${process.version}`,
  );
}

export const {
  AllocatedMemory,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  cudaStatus,
  CudaStream,
  getDeviceMemory,
  getSupportedGpus,
  MemoryAccount,
  MemoryError,
  MemoryReference,
  MutableMemory,
  parseMemoryOptions,
  PinnedMemoryManager,
  pointerAttributes,
  setLogger,
} = await import("../dist/index.js");
