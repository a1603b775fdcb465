// Makes views of pinned memory until it is terminated.

import { AllocatedMemory } from "../../src/index.ts";

declare const self: Worker;

function view(): void {
  using memory = new AllocatedMemory(512, "CPU_PINNED");
  memory.bytes[0] = 1;
}

view();
self.postMessage("viewing");
for (;;) view();
