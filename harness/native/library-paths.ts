import { fileURLToPath } from "node:url";

/** The library that is measured, as `make` builds it. */
export const poolLibraryPath = fileURLToPath(
  new URL("../../build/libbun_cuda_memory.so", import.meta.url),
);

export const simulatorLibraryPath = fileURLToPath(
  new URL("../../build/libcudart_sim.so", import.meta.url),
);
