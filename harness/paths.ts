// Where things lie in the repository.

import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const rootFolder = fileURLToPath(new URL("..", import.meta.url));

/** The library that is measured, as `make` builds it. */
export const poolLibraryPath = join(rootFolder, "build/libbun_cuda_memory.so");

export const simulatorLibraryPath = join(rootFolder, "build/libcudart_sim.so");
