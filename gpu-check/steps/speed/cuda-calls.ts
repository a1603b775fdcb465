import { dlopen, type CString } from "bun:ffi";
import { compileLibrary } from "../../../harness/native/compile.ts";
import { allocSymbol, freeSymbol } from "../../../harness/timing/block-symbols.ts";
import type { BlockSource } from "../../../harness/workloads/blocks.ts";

const {
  cuda_open,
  cuda_open_stream,
  cuda_open_mem_pool,
  cuda_use_mem_pool,
  cuda_synchronize,
  cuda_malloc,
  cuda_free,
  cuda_malloc_async,
  cuda_free_async,
  cuda_free_async_and_wait,
  cuda_host_alloc,
  cuda_free_host,
} = dlopen(compileLibrary("cuda_calls", ["gpu-check/steps/speed/cuda_calls.c"]), {
  cuda_open: { args: ["ptr", "f64"], returns: "cstring" },
  cuda_open_stream: { args: [], returns: "cstring" },
  cuda_open_mem_pool: { args: ["f64", "f64"], returns: "cstring" },
  cuda_use_mem_pool: { args: ["f64"], returns: "i32" },
  cuda_synchronize: { args: [], returns: "i32" },
  cuda_malloc: allocSymbol,
  cuda_free: freeSymbol,
  cuda_malloc_async: allocSymbol,
  cuda_free_async: freeSymbol,
  cuda_free_async_and_wait: freeSymbol,
  cuda_host_alloc: allocSymbol,
  cuda_free_host: freeSymbol,
}).symbols;

/** Something that cannot be had on this machine. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}

function requireOpened(message: CString): void {
  const text = String(message);
  if (text !== "") throw new UnavailableError(text);
}

function requireSuccess(error: number): void {
  if (error !== 0) throw new Error(`a CUDA call returned error ${error}`);
}

/** Opens the runtime for this process, and makes a GPU current. */
export function openCuda(cudartPath: string, deviceId: number): void {
  requireOpened(cuda_open(new TextEncoder().encode(`${cudartPath}\0`), deviceId)!);
}

export const cudaMalloc: BlockSource = {
  alloc: (byteSize) => cuda_malloc(byteSize, 0),
  free(address) {
    requireSuccess(cuda_free(address, 0));
  },
};

export const cudaHostAlloc: BlockSource = {
  alloc: (byteSize) => cuda_host_alloc(byteSize, 0),
  free(address) {
    requireSuccess(cuda_free_host(address, 0));
  },
};

/** An allocator of memory in the order of a stream, from a pool of the driver's. */
export interface StreamOrdered extends BlockSource {
  /** Takes memory from this pool from now on. Must be called after another pool was in use. */
  use(): void;
  /** Waits until the stream has done everything. */
  synchronize(): void;
}

let memPoolCount = 0;

/**
 * @param releaseThreshold Bytes above which the pool gives back what is free whenever something is
 * synchronized: 0 by default, as in CUDA; Infinity for never.
 * @param isSynchronized Whether every free waits for the stream.
 * @throws {UnavailableError} where the runtime, the driver or the GPU has no such memory.
 */
export function openStreamOrdered(
  releaseThreshold: number,
  isSynchronized: boolean,
): StreamOrdered {
  if (memPoolCount === 0) requireOpened(cuda_open_stream()!);
  const index = memPoolCount++;
  requireOpened(
    cuda_open_mem_pool(index, Number.isFinite(releaseThreshold) ? releaseThreshold : -1)!,
  );
  return {
    alloc: (byteSize) => cuda_malloc_async(byteSize, 0),
    free: isSynchronized
      ? (address) => requireSuccess(cuda_free_async_and_wait(address, 0))
      : (address) => requireSuccess(cuda_free_async(address, 0)),
    use: () => requireSuccess(cuda_use_mem_pool(index)),
    synchronize: () => requireSuccess(cuda_synchronize()),
  };
}
