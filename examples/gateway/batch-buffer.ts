import { AllocatedMemory, copyBuffer, type CudaStream, MemoryReference } from "bun-cuda-memory";
import { outputsOf } from "./check-tensors.ts";
import type { Model, Tensor } from "./engine/engine.ts";
import { byteSizeOf, type TensorSpec } from "./protocol/tensor-spec.ts";
import { stagedByteSizeMax } from "./staging.ts";

const alignment = 512;

/** The tensors of one request, in the model's order. */
export interface Job {
  inputs: readonly Tensor[];
  outputs: readonly Tensor[];
}

/** The rows of several requests as one tensor. */
function concatenated(tensors: readonly TensorSpec[]): TensorSpec {
  const { name, datatype, shape } = tensors[0]!;
  const rowCount = tensors.reduce((sum, tensor) => sum + tensor.shape[0]!, 0);
  return { name, datatype, shape: [rowCount, ...shape.slice(1)] };
}

/**
 * Memory in which the requests of a batch lie as one, where the engine wants them: their inputs are
 * gathered there, and their outputs scattered from there to where each client's answer is read. There
 * is one for each model, for as long as the gateway runs, so that no batch has to wait for memory.
 */
export class BatchBuffer implements Disposable {
  readonly #memory: AllocatedMemory;
  readonly #model: Model;
  /** Bytes that each tensor may have: all inputs, and the outputs unless they take their place. */
  readonly tensorByteSizeMax: number;

  /** @param batchByteSize Bytes for the tensors of a batch, if the model allows batches. */
  constructor(model: Model, batchByteSize: number) {
    const { memoryType, memoryTypeId, isInPlace, inputs, outputs, maxBatchSize } = model;
    const tensorCount = inputs.length + (isInPlace ? 0 : outputs.length);
    const byteSize = maxBatchSize > 0 ? batchByteSize : tensorCount * stagedByteSizeMax;
    this.#model = model;
    this.#memory = new AllocatedMemory(byteSize, memoryType, memoryTypeId, {
      fallback: "none",
    });
    this.tensorByteSizeMax = Math.floor(byteSize / tensorCount / alignment) * alignment;
  }

  #tensor(spec: TensorSpec, index: number): Tensor {
    const begin = index * this.tensorByteSizeMax;
    return { ...spec, memory: this.#memory.subarray(begin, begin + byteSizeOf(spec)!) };
  }

  /** Brings the jobs' inputs together. */
  gather(jobs: readonly Job[], stream: CudaStream | null): Tensor[] {
    return this.#model.inputs.map((_input, index) => {
      const tensors = jobs.map(({ inputs }) => inputs[index]!);
      const rows = new MemoryReference();
      for (const { memory } of tensors) rows.append(memory);
      const gathered = this.#tensor(concatenated(tensors), index);
      copyBuffer(gathered.memory, rows, { stream: stream ?? undefined });
      return gathered;
    });
  }

  /** Where the outputs of these inputs are to be. */
  outputsOf(inputs: readonly Tensor[]): Tensor[] {
    const offset = this.#model.isInPlace ? 0 : inputs.length;
    return outputsOf(this.#model, inputs).map((output, index) =>
      this.#tensor(output, offset + index),
    );
  }

  /** Brings to each job what is its own. */
  scatter(outputs: readonly Tensor[], jobs: readonly Job[], stream: CudaStream | null): void {
    for (const [index, { memory }] of outputs.entries()) {
      let sourceOffset = 0;
      for (const job of jobs) {
        const own = job.outputs[index]!.memory;
        const byteSize = own.totalByteSize;
        copyBuffer(own, memory, { sourceOffset, byteSize, stream: stream ?? undefined });
        sourceOffset += byteSize;
      }
    }
  }

  [Symbol.dispose](): void {
    this.#memory.free();
  }
}
