import type { TensorSpec } from "./tensor-spec.ts";

/** An output of an answer: as JSON, or as so many bytes behind the JSON. */
export interface AnsweredOutput extends TensorSpec {
  data: { json: string } | { binaryByteSize: number };
}

export interface InferAnswer {
  modelName: string;
  modelVersion: string;
  id: string | undefined;
  outputs: readonly AnsweredOutput[];
}

function textOf({ name, datatype, shape, data }: AnsweredOutput): string {
  const spec = JSON.stringify({ name, datatype, shape }).slice(0, -1);
  return "json" in data
    ? `${spec},"data":${data.json}}`
    : `${spec},"parameters":{"binary_data_size":${data.binaryByteSize}}}`;
}

/** The JSON that the answer to an inference request begins with. */
export function inferAnswerJson({ modelName, modelVersion, id, outputs }: InferAnswer): string {
  const head = JSON.stringify({ model_name: modelName, model_version: modelVersion, id });
  return `${head.slice(0, -1)},"outputs":[${outputs.map(textOf).join()}]}`;
}
