// Attaches what it is sent, adds 1 to each byte, and sends it back.

import { AllocatedMemory, type MemoryHandle } from "../../src/index.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<MemoryHandle>) => {
  const memory = AllocatedMemory.attach(data);
  const bytes = new Uint8Array(memory.totalByteSize);
  memory.read(bytes);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  memory.write(bytes.map((byte) => byte + 1));
  self.postMessage({ sum, handle: memory.detach() });
};
