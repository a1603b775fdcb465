// Resets both managers.

import { CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";

declare const self: Worker;

CudaMemoryManager.reset();
PinnedMemoryManager.reset();
self.postMessage("reset");
