import { AllocatedMemory, cudaStatus, type CudaStream } from "bun-cuda-memory";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CudaKernels } from "./cuda-kernels.ts";
import type { Engine, Model, Tensor } from "./engine.ts";
import { localModels } from "./local-models.ts";
import { compileKernels } from "./nvrtc.ts";

const source = fileURLToPath(new URL("add-sub.cu", import.meta.url));

/** Computes with a GPU, by a kernel of its own that is compiled when it starts. */
export class GpuEngine implements Engine {
  readonly description: string;
  readonly models: ReadonlyMap<string, Model>;
  readonly #kernels: CudaKernels;

  /** @throws {Error} where the kernel cannot be compiled, or loaded. */
  constructor(deviceId: number) {
    this.#kernels = new CudaKernels(deviceId, (architecture) =>
      compileKernels(readFileSync(source, "utf8"), architecture),
    );
    using probe = new AllocatedMemory(512, "GPU", deviceId, { fallback: "none" });
    this.#kernels.checkPointer(probe.pointer!);
    this.description = `GPU ${deviceId}`;
    this.models = localModels(deviceId);
  }

  isReady(): boolean {
    return cudaStatus() === "ready";
  }

  async execute(
    model: Model,
    inputs: readonly Tensor[],
    _outputs: readonly Tensor[],
    stream: CudaStream | null,
  ): Promise<void> {
    if (model.name !== "simple") return; // an output is its input
    const [left, right] = inputs.map(({ memory }) => memory);
    const count = left!.totalByteSize / 4;
    this.#kernels.launch("add_sub", stream!, count, [
      left!.pointer ?? 0,
      right!.pointer ?? 0,
      count,
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kernels[Symbol.dispose]();
  }
}
