import type { Datatype } from "./datatype.ts";
import type { TensorSpec } from "./tensor-spec.ts";

/** What the protocol tells of a model. */
export interface DescribedModel {
  name: string;
  inputs: readonly TensorSpec[];
  outputs: readonly TensorSpec[];
  maxBatchSize: number;
}

/** Every model has just this one. */
export const modelVersion = "1";

export const platform = "bun_cuda_memory_gateway";

export function serverMetadata() {
  return { name: "bun-cuda-memory gateway", version: "1.0.0", extensions: ["binary_tensor_data"] };
}

export function modelMetadata({ name, inputs, outputs }: DescribedModel) {
  return { name, versions: [modelVersion], platform, inputs, outputs };
}

const configType = (datatype: Datatype) =>
  datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${datatype}`;

/** As in Triton's configurations, which leave the batch's dimension out. */
export function modelConfig({ name, inputs, outputs, maxBatchSize }: DescribedModel) {
  const described = (tensor: TensorSpec) => ({
    name: tensor.name,
    data_type: configType(tensor.datatype),
    dims: maxBatchSize > 0 ? tensor.shape.slice(1) : tensor.shape,
  });
  return {
    name,
    platform,
    backend: platform,
    max_batch_size: maxBatchSize,
    input: inputs.map(described),
    output: outputs.map(described),
  };
}
