import type { CudaStream, MemoryType, MutableMemory } from "bun-cuda-memory";

import type { TensorSpec } from "../protocol/tensor-spec.ts";

/** A kind of memory. */
export interface Place {
  memoryType: MemoryType;
  memoryTypeId: number;
}

/** A tensor with its bytes. */
export interface Tensor extends TensorSpec {
  memory: MutableMemory;
}

/**
 * What a model takes and gives, so that a request has memory for all of its tensors before it begins:
 * one that waited for more while it holds some could wait for itself. A dimension of -1 is whatever
 * a request has, the same in all of its tensors. Its place is where the engine wants them.
 */
export interface Model extends Place {
  name: string;
  inputs: readonly TensorSpec[];
  outputs: readonly TensorSpec[];
  /** The most rows that requests may have together in a batch; 0 where each is computed alone. */
  maxBatchSize: number;
  /** Whether each output takes the place of the input of the same index. */
  isInPlace: boolean;
}

/**
 * What computes. The gateway gives it one request at a time for each model, be it one client's or
 * a batch of several, and its memory stays until the answer is there.
 */
export interface Engine extends AsyncDisposable {
  /** What it is, for people. */
  readonly description: string;
  readonly models: ReadonlyMap<string, Model>;
  /** Whether it can compute now. */
  isReady(): boolean;
  /**
   * Computes the outputs, all of whose memory is there. It begins after what the stream was given,
   * and when it resolves the outputs are there for whatever the stream is given next. Models in
   * host memory have no stream.
   */
  execute(
    model: Model,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    stream: CudaStream | null,
  ): Promise<void>;
}
