import { isDatatype } from "./datatype.ts";
import { bytesOfJson } from "./json-data.ts";
import { ProtocolError } from "./protocol-error.ts";
import { byteSizeOf, checkShape, elementCountOf, type TensorSpec } from "./tensor-spec.ts";

// The JSON that an inference request begins with, and of which nothing is believed: it is followed
// by the binary inputs' bytes, one input after the other, up to the end of the body.

/** An input, and where its bytes are. */
export interface InferInput extends TensorSpec {
  byteSize: number;
  /** Those of an input that came as JSON; `null` for one that is behind it. */
  bytes: Uint8Array | null;
}

export interface RequestedOutput {
  name: string;
  isBinary: boolean;
}

/** An inference request without its binary inputs' bytes. */
export interface InferHeader {
  id: string | undefined;
  inputs: InferInput[];
  /** `null` where the client wants all. */
  outputs: RequestedOutput[] | null;
  /** Whether outputs that it does not name come as binary data. */
  isOutputBinary: boolean;
}

const tensorCountMax = 16;
const textLengthMax = 256;

type JsonObject = Record<string, unknown>;

function checkObject(what: string, value: unknown): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as JsonObject;
  }
  throw new ProtocolError(`${what} must be a JSON object`);
}

function checkText(what: string, value: unknown): string {
  if (typeof value === "string" && value.length <= textLengthMax) return value;
  throw new ProtocolError(`${what} must be a text of at most ${textLengthMax} characters`);
}

function checkTensors(what: string, value: unknown): JsonObject[] {
  if (Array.isArray(value) && value.length <= tensorCountMax) {
    const tensors = value.map((tensor) => checkObject(`each of "${what}"`, tensor));
    const names = new Set(tensors.map(({ name }) => checkText(`a name in "${what}"`, name)));
    if (names.size === tensors.length) return tensors;
    throw new ProtocolError(`two of "${what}" have the same name`);
  }
  throw new ProtocolError(`"${what}" must be an array of at most ${tensorCountMax}`);
}

/** What this server does not do. Whatever else a client has for a model is not looked at. */
const refusedParameters = /^(shared_memory_|sequence_|classification$)/;

function checkParameters(value: unknown = {}): JsonObject {
  const parameters = checkObject('"parameters"', value);
  const refused = Object.keys(parameters).find((name) => refusedParameters.test(name));
  if (refused === undefined) return parameters;
  throw new ProtocolError(`the parameter ${refused.slice(0, 100)} is not supported`);
}

function checkInput(value: JsonObject): InferInput {
  const name = value["name"] as string;
  const datatype = value["datatype"];
  if (!isDatatype(datatype)) {
    throw new ProtocolError(`input ${name}: there is no datatype ${JSON.stringify(datatype)}`);
  }
  const spec = { name, datatype, shape: checkShape(name, value["shape"]) };
  const binaryByteSize = checkParameters(value["parameters"])["binary_data_size"];
  if ((binaryByteSize === undefined) === (value["data"] === undefined)) {
    throw new ProtocolError(`input ${name}: it must have either "data" or "binary_data_size"`);
  }
  if (binaryByteSize === undefined) {
    const bytes = bytesOfJson(spec, value["data"]);
    return { ...spec, byteSize: bytes.byteLength, bytes };
  }
  if (!Number.isSafeInteger(binaryByteSize) || (binaryByteSize as number) < 0) {
    throw new ProtocolError(`input ${name}: "binary_data_size" must be a whole number`);
  }
  const byteSize = binaryByteSize as number;
  // Elements of BYTES are counted when they are there; each has four bytes at least.
  const expected = byteSizeOf(spec);
  const isExpected =
    expected === null ? byteSize >= 4 * elementCountOf(spec.shape) : byteSize === expected;
  if (isExpected) return { ...spec, byteSize, bytes: null };
  throw new ProtocolError(
    `input ${name}: ${byteSize} bytes are not what ${datatype} [${spec.shape}] has`,
  );
}

function checkOutput(value: JsonObject, isBinaryByDefault: boolean): RequestedOutput {
  const name = value["name"] as string;
  const isBinary = checkParameters(value["parameters"])["binary_data"] ?? isBinaryByDefault;
  if (typeof isBinary === "boolean") return { name, isBinary };
  throw new ProtocolError(`output ${name}: "binary_data" must be true or false`);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new ProtocolError("the request does not begin with JSON");
  }
}

/**
 * @param bytes The JSON, which the caller has limited in size.
 * @param binaryByteSize Bytes of the body behind it.
 * @throws {ProtocolError} where anything is not what it has to be.
 */
export function parseInferHeader(bytes: Uint8Array, binaryByteSize: number): InferHeader {
  const header = checkObject("an inference request", parseJson(bytes));
  const isOutputBinary = checkParameters(header["parameters"])["binary_data_output"] ?? false;
  if (typeof isOutputBinary !== "boolean") {
    throw new ProtocolError('"binary_data_output" must be true or false');
  }
  const inputs = checkTensors("inputs", header["inputs"]).map(checkInput);
  const announced = inputs.reduce((sum, input) => sum + (input.bytes ? 0 : input.byteSize), 0);
  if (announced !== binaryByteSize) {
    throw new ProtocolError(
      `the inputs have ${announced} binary bytes, behind the JSON come ${binaryByteSize}`,
    );
  }
  const wanted = header["outputs"];
  return {
    id: header["id"] === undefined ? undefined : checkText('"id"', header["id"]),
    inputs,
    outputs:
      wanted === undefined
        ? null
        : checkTensors("outputs", wanted).map((output) => checkOutput(output, isOutputBinary)),
    isOutputBinary,
  };
}
