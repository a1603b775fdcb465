import type { Model } from "./engine/engine.ts";
import type { InferHeader, InferInput, RequestedOutput } from "./protocol/infer-header.ts";
import { ProtocolError } from "./protocol/protocol-error.ts";
import type { TensorSpec } from "./protocol/tensor-spec.ts";

// What a request has, against what the model takes and gives.

function checkInput(model: Model, wanted: TensorSpec, input: InferInput | undefined): InferInput {
  const { name, datatype, shape } = wanted;
  if (input === undefined) throw new ProtocolError(`${model.name} needs the input ${name}`);
  const isAlike =
    input.datatype === datatype &&
    input.shape.length === shape.length &&
    input.shape.every((dimension, index) => shape[index] === -1 || shape[index] === dimension);
  if (!isAlike) {
    throw new ProtocolError(
      `input ${name} must be ${datatype} [${shape}], got ${input.datatype} [${input.shape}]`,
    );
  }
  if (model.maxBatchSize > 0 && input.shape[0]! > model.maxBatchSize) {
    throw new ProtocolError(
      `input ${name} has more rows than the ${model.maxBatchSize} of a batch`,
    );
  }
  return input;
}

/** The inputs in the model's order. */
export function checkInputs(model: Model, { inputs }: InferHeader): InferInput[] {
  const byName = new Map(inputs.map((input) => [input.name, input]));
  const checked = model.inputs.map((wanted) => checkInput(model, wanted, byName.get(wanted.name)));
  if (checked.length === inputs.length) return checked;
  const names = model.inputs.map(({ name }) => name);
  throw new ProtocolError(`${model.name} takes no inputs but ${names.join(", ")}`);
}

/** The outputs that the client wants, in its order. */
export function checkOutputs(model: Model, header: InferHeader): RequestedOutput[] {
  const all = model.outputs.map(({ name }) => ({ name, isBinary: header.isOutputBinary }));
  const wanted = header.outputs ?? all;
  for (const { name } of wanted) {
    if (!all.some((output) => output.name === name)) {
      throw new ProtocolError(`${model.name} has no output ${name}`);
    }
  }
  return wanted;
}

/**
 * The outputs that these inputs, in the model's order, will give.
 *
 * @throws {ProtocolError} where the inputs do not go together.
 */
export function outputsOf(model: Model, inputs: readonly TensorSpec[]): TensorSpec[] {
  /** What stands for -1, by its place in the shape. */
  const free: number[] = [];
  for (const [number, { shape }] of model.inputs.entries()) {
    for (const [place, wanted] of shape.entries()) {
      const dimension = inputs[number]!.shape[place]!;
      if (wanted !== -1) continue;
      free[place] ??= dimension;
      if (free[place] === dimension) continue;
      throw new ProtocolError(`the inputs of ${model.name} must have the same shape`);
    }
  }
  return model.outputs.map((output) => ({
    ...output,
    shape: output.shape.map((dimension, place) => (dimension === -1 ? free[place]! : dimension)),
  }));
}
