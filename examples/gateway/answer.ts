import type { AllocatedMemory } from "bun-cuda-memory";
import type { Tensor } from "./engine/engine.ts";

import { type AnsweredOutput, inferAnswerJson } from "./protocol/infer-answer.ts";
import type { RequestedOutput } from "./protocol/infer-header.ts";
import { jsonOfBytes } from "./protocol/json-data.ts";
import { modelVersion } from "./protocol/model-description.ts";
import { ProtocolError } from "./protocol/protocol-error.ts";

/** The most of an answer that is sent whole; larger ones stream. */
const wholeByteSizeMax = 256 * 1024;
const chunkByteSize = 256 * 1024;
/** Arrays for whole answers; as many as answers were made at once. */
const spareBodies: Uint8Array<ArrayBuffer>[] = [];
const jsonTensorByteSizeMax = 1024 * 1024;

/** What was computed, in memory that the answer takes over. */
export interface Computed {
  modelName: string;
  id: string | undefined;
  /** All outputs, and those that the client wants. */
  outputs: readonly Tensor[];
  wanted: readonly RequestedOutput[];
  memory: AllocatedMemory;
}

async function bytesOf({ memory }: Tensor): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(memory.totalByteSize);
  await memory.readAsync(bytes);
  return bytes;
}

async function answeredOutput(tensor: Tensor, isBinary: boolean): Promise<AnsweredOutput> {
  const { name, datatype, shape } = tensor;
  const binaryByteSize = tensor.memory.totalByteSize;
  if (isBinary) return { name, datatype, shape, data: { binaryByteSize } };
  if (binaryByteSize > jsonTensorByteSizeMax) {
    throw new ProtocolError(`output ${name} is too large for JSON; ask for binary data`);
  }
  return { name, datatype, shape, data: { json: jsonOfBytes(tensor, await bytesOf(tensor)) } };
}

/**
 * The JSON and the tensors as one body. Bun copies it, so that the array is of use again: with one for
 * each answer the collector would stop the server for milliseconds many times a second.
 */
async function whole(
  json: Uint8Array,
  tensors: readonly Tensor[],
  headers: Record<string, string>,
): Promise<Response> {
  const body = spareBodies.pop() ?? new Uint8Array(wholeByteSizeMax);
  body.set(json);
  let offset = json.byteLength;
  for (const { memory } of tensors) {
    const end = offset + memory.totalByteSize;
    await memory.readAsync(body.subarray(offset, end));
    offset = end;
  }
  const response = new Response(body.subarray(0, offset), { headers });
  spareBodies.push(body);
  return response;
}

/** What a direct stream writes to; the runtime's types leave the promise out. */
interface DirectController {
  /** Resolves when there is room for more, and the chunk is the caller's again. */
  write(chunk: Uint8Array): number | Promise<number>;
  close(): void;
}

/** Sends a tensor chunk by chunk, all of them in one buffer. */
async function sendTensor(controller: DirectController, { memory }: Tensor): Promise<void> {
  const chunks = memory.readable({ chunkByteSize }).getReader({ mode: "byob" });
  let buffer = new ArrayBuffer(chunkByteSize);
  for (;;) {
    const { value, done } = await chunks.read(new Uint8Array(buffer));
    if (done) return;
    await controller.write(value);
    buffer = value.buffer;
  }
}

/** The JSON and the tensors, read when the client has taken what was sent. Frees the memory. */
function streamed(
  json: Uint8Array,
  tensors: readonly Tensor[],
  memory: AllocatedMemory,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    type: "direct",
    // Where this throws, Bun breaks the connection off: no client takes a part for all.
    async pull(controller: DirectController) {
      using _memory = memory;
      await controller.write(json);
      for (const tensor of tensors) await sendTensor(controller, tensor);
      controller.close();
    },
    cancel: () => memory.free(),
  } as unknown as Bun.DirectUnderlyingSource<Uint8Array>);
}

/**
 * The answer to an inference request. It frees the memory when it has been sent, when the client
 * has gone, and when it cannot be made.
 *
 * @param signal Aborted when the client goes: a stream that nobody begins to read is not cancelled.
 */
export async function answerOf(computed: Computed, signal: AbortSignal): Promise<Response> {
  const { modelName, id, outputs, wanted, memory } = computed;
  let isStreaming = false;
  try {
    const tensors = wanted.map(({ name }) => outputs.find((output) => output.name === name)!);
    const answered = await Promise.all(
      wanted.map(({ isBinary }, index) => answeredOutput(tensors[index]!, isBinary)),
    );
    const json = Buffer.from(inferAnswerJson({ modelName, modelVersion, id, outputs: answered }));
    const binary = tensors.filter((_tensor, index) => wanted[index]!.isBinary);
    if (binary.length === 0) {
      return new Response(json, { headers: { "content-type": "application/json" } });
    }
    const headers = {
      "content-type": "application/octet-stream",
      "inference-header-content-length": String(json.byteLength),
    };
    const byteSize = binary.reduce((sum, each) => sum + each.memory.totalByteSize, json.byteLength);
    if (byteSize <= wholeByteSizeMax) {
      return await whole(json, binary, headers);
    }
    signal.throwIfAborted();
    isStreaming = true;
    signal.addEventListener("abort", () => memory.free(), { once: true });
    return new Response(streamed(json, binary, memory), { headers });
  } finally {
    if (!isStreaming) memory.free();
  }
}
