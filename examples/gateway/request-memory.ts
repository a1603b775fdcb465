import type { MutableMemory } from "bun-cuda-memory";
import type { Model, Tensor } from "./engine/engine.ts";
import type { InferInput } from "./protocol/infer-header.ts";
import { byteSizeOf, type TensorSpec } from "./protocol/tensor-spec.ts";

// All tensors of a request lie in one memory: first the binary inputs, one after the other as they
// come in the body, then the inputs that came as JSON, then the outputs that take no input's place.
// Inputs of one datatype begin at a multiple of its size thereby.

const alignment = 512;

/** A tensor, and which part of its request's memory it has. */
export interface TensorPart extends TensorSpec {
  byteOffset: number;
  byteSize: number;
}

/** All tensors of a request, in the model's order. */
export interface Layout {
  /** Of all together. */
  byteSize: number;
  inputs: TensorPart[];
  outputs: TensorPart[];
}

/** @param inputs In the client's order. */
export function layoutOf(
  model: Model,
  inputs: readonly InferInput[],
  outputs: readonly TensorSpec[],
): Layout {
  const placed = new Map<string, TensorPart>();
  let end = 0;
  const place = ({ name, datatype, shape }: TensorSpec, byteOffset: number, byteSize: number) => {
    end = byteOffset + byteSize;
    return { name, datatype, shape, byteOffset, byteSize };
  };
  const aligned = () => Math.ceil(end / alignment) * alignment;
  for (const isBinary of [true, false]) {
    for (const input of inputs) {
      if ((input.bytes === null) !== isBinary) continue;
      const byteOffset = isBinary ? end : aligned();
      placed.set(input.name, place(input, byteOffset, input.byteSize));
    }
  }
  const inputParts = model.inputs.map(({ name }) => placed.get(name)!);
  const outputParts = outputs.map((output, index) => {
    if (!model.isInPlace) return place(output, aligned(), byteSizeOf(output)!);
    const { byteOffset, byteSize } = inputParts[index]!;
    return { ...output, byteOffset, byteSize };
  });
  return { byteSize: end, inputs: inputParts, outputs: outputParts };
}

/** The tensors with their bytes. */
export function tensorsOf(memory: MutableMemory, parts: readonly TensorPart[]): Tensor[] {
  return parts.map(({ name, datatype, shape, byteOffset, byteSize }) => ({
    name,
    datatype,
    shape,
    memory: memory.subarray(byteOffset, byteOffset + byteSize),
  }));
}
