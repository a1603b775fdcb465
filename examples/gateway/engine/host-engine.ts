import { AllocatedMemory, copyBuffer, type CudaStream, type MutableMemory } from "bun-cuda-memory";
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

function numbersOf({ bytes }: MutableMemory): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/**
 * Has host memory computed on in the place of a GPU's: it is brought there and back on the stream, and
 * waited for once.
 */
async function onHost(
  memories: readonly MutableMemory[],
  stream: CudaStream,
  compute: (memories: readonly MutableMemory[]) => Promise<void>,
): Promise<void> {
  const copies: AllocatedMemory[] = [];
  try {
    for (const memory of memories) {
      const copy = new AllocatedMemory(memory.totalByteSize, "CPU_PINNED");
      copies.push(copy);
      copyBuffer(copy, memory, { stream });
    }
    await stream.finished();
    await compute(copies);
    for (const [index, copy] of copies.entries()) copyBuffer(memories[index]!, copy, { stream });
  } finally {
    for (const copy of copies) copy.free(stream);
  }
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
    const memories = inputs.map(({ memory }) => memory);
    const compute = async ([left, right]: readonly MutableMemory[]) =>
      addAndSubtract(numbersOf(left!), numbersOf(right!));
    await (stream === null ? compute(memories) : onHost(memories, stream, compute));
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
