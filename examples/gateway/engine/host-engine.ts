import type { CudaStream, MutableMemory } from "bun-cuda-memory";

import type { Engine, Model, Tensor } from "./engine.ts";
import { localModels } from "./local-models.ts";

/** Elements that are computed before others have their turn. */
const turnElementCount = 1 << 18;

/** Sum and difference, in the place of the operands. */
async function addAndSubtract(left: Int32Array, right: Int32Array): Promise<void> {
  for (let begin = 0; begin < left.length; begin += turnElementCount) {
    if (begin > 0) await Bun.sleep(0);
    const end = Math.min(left.length, begin + turnElementCount);
    for (let index = begin; index < end; index++) {
      const a = left[index]!;
      const b = right[index]!;
      left[index] = a + b;
      right[index] = a - b;
    }
  }
}

/**
 * The memory as numbers that the host can compute with: itself, or for a GPU's a copy, which `use`
 * has and which goes back.
 */
async function onHost(
  memories: readonly MutableMemory[],
  use: (...numbers: Int32Array[]) => Promise<void>,
): Promise<void> {
  const isCopied = memories.some(({ memoryType }) => memoryType === "GPU");
  const numbers = memories.map((memory) => {
    if (isCopied) return new Int32Array(memory.totalByteSize / 4);
    const { buffer, byteOffset, byteLength } = memory.bytes;
    return new Int32Array(buffer, byteOffset, byteLength / 4);
  });
  if (isCopied) await Promise.all(memories.map((memory, i) => memory.readAsync(numbers[i]!)));
  await use(...numbers);
  if (isCopied) await Promise.all(memories.map((memory, i) => memory.writeAsync(numbers[i]!)));
}

/** Computes with the host's processor, for machines whose GPU can run no kernel, or that have none. */
export class HostEngine implements Engine {
  readonly description: string;
  readonly models: ReadonlyMap<string, Model>;

  /**
   * @param deviceId The GPU that has the tensors; `null` for the host.
   * @param reason Why it is not a GPU that computes.
   */
  constructor(deviceId: number | null, reason: string) {
    this.description = `the host's processor (${reason})`;
    this.models = localModels(deviceId);
  }

  isReady(): boolean {
    return true;
  }

  async execute(
    model: Model,
    inputs: readonly Tensor[],
    _outputs: readonly Tensor[],
    stream: CudaStream | null,
  ): Promise<void> {
    if (model.name !== "simple") return; // an output is its input
    await stream?.finished();
    await onHost(
      inputs.map(({ memory }) => memory),
      addAndSubtract,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
