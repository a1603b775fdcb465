import { AllocatedMemory, copyBuffer, CudaStream } from "bun-cuda-memory";
import type { Pointer } from "bun:ffi";
import type { Cudart } from "../../../src/native/cudart.ts";

export type Direction = "write" | "read";

/** What the columns of the table are called. */
export const ways = {
  rawPageable: "raw pageable",
  sync: "write, read",
  staged: "...Async",
  rawPinned: "raw pinned",
  pinned: "copyBuffer",
  pinnedOnStream: "on a stream",
} as const;

export type WayName = keyof typeof ways;

/** Moves all bytes once, and returns when they are where they belong. */
export type Way = () => void | Promise<void>;

const cudaMemcpyDefault = 4;

function requireSuccess(error: number): void {
  if (error !== 0) throw new Error(`CUDA error ${error}`);
}

/** Memories of a size, with every way to move their bytes. */
export class Ways implements Disposable {
  readonly #cudart: Cudart;
  readonly #js: Uint8Array<ArrayBuffer>;
  readonly #pinned: AllocatedMemory;
  readonly #gpu: AllocatedMemory;
  readonly #stream = new CudaStream(0);

  constructor(cudart: Cudart, byteSize: number) {
    this.#cudart = cudart;
    this.#js = new Uint8Array(byteSize).fill(1); // every page is there
    this.#gpu = new AllocatedMemory(byteSize, "GPU", 0);
    this.#pinned = new AllocatedMemory(byteSize, "CPU_PINNED");
    this.#pinned.fill(1);
    if (this.#gpu.memoryType !== "GPU" || this.#pinned.memoryType !== "CPU_PINNED") {
      throw new Error(`no room for ${byteSize} bytes in the pools`);
    }
  }

  of(direction: Direction): Record<WayName, Way> {
    const gpu = this.#gpu;
    const pinned = this.#pinned;
    const js = this.#js;
    const stream = this.#stream;
    if (direction === "write") {
      return {
        rawPageable: () => this.#raw(gpu.pointer!, js),
        sync: () => gpu.write(js),
        staged: () => gpu.writeAsync(js),
        rawPinned: () => this.#raw(gpu.pointer!, pinned.pointer!),
        pinned: () => void copyBuffer(gpu, pinned),
        pinnedOnStream: () => {
          copyBuffer(gpu, pinned, { stream });
          return stream.finished();
        },
      };
    }
    return {
      rawPageable: () => this.#raw(js, gpu.pointer!),
      sync: () => gpu.read(js),
      staged: () => gpu.readAsync(js),
      rawPinned: () => this.#raw(pinned.pointer!, gpu.pointer!),
      pinned: () => void copyBuffer(pinned, gpu),
      pinnedOnStream: () => {
        copyBuffer(pinned, gpu, { stream });
        return stream.finished();
      },
    };
  }

  /**
   * What a program without this package would do. cudaMemcpy may return before the bytes are there.
   */
  #raw(target: Pointer | Uint8Array, source: Pointer | Uint8Array): void {
    const { cudaMemcpy, cudaStreamSynchronize } = this.#cudart;
    requireSuccess(cudaMemcpy(target, source, this.#js.byteLength, cudaMemcpyDefault));
    requireSuccess(cudaStreamSynchronize(null));
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
    this.#gpu.free();
    this.#pinned.free();
  }
}
