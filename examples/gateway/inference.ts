import type { AllocatedMemory } from "bun-cuda-memory";
import { Admission, type AdmissionLimits } from "./admission.ts";
import { answerOf } from "./answer.ts";
import { checkInputs, checkOutputs, outputsOf } from "./check-tensors.ts";
import type { Model } from "./engine/engine.ts";
import { checkElements } from "./protocol/bytes-tensor.ts";
import { type InferInput, parseInferHeader } from "./protocol/infer-header.ts";
import { elementCountOf } from "./protocol/tensor-spec.ts";
import { announcedSizes, RequestBody } from "./request-body.ts";
import { type Layout, layoutOf, tensorsOf } from "./request-memory.ts";
import type { Scheduler } from "./scheduler.ts";
import { placeOf } from "./staging.ts";
import type { Tenant } from "./tenants.ts";

export interface InferenceLimits extends AdmissionLimits {
  /** Larger requests are refused. */
  requestByteSizeMax: number;
  /** More JSON than that is refused. */
  jsonByteSizeMax: number;
}

/** Brings all inputs to their places. */
async function receive(
  body: RequestBody,
  memory: AllocatedMemory,
  layout: Layout,
  inputs: readonly InferInput[],
  signal: AbortSignal,
): Promise<void> {
  await body.writeTo(memory, signal);
  for (const { name, bytes } of inputs) {
    if (bytes === null) continue;
    const part = layout.inputs.find((each) => each.name === name)!;
    await memory.writeAsync(bytes, part.byteOffset);
  }
}

/** @throws {ProtocolError} for texts that are not as many as their shape says. */
function checkTexts(memory: AllocatedMemory, { inputs }: Layout): void {
  for (const tensor of tensorsOf(memory, inputs)) {
    if (tensor.datatype !== "BYTES") continue;
    checkElements(tensor.name, tensor.memory.bytes, elementCountOf(tensor.shape));
  }
}

/** From a request's first byte to its answer. */
export class Inference {
  readonly #scheduler: Scheduler;
  readonly #limits: InferenceLimits;
  readonly #admission: Admission;

  constructor(scheduler: Scheduler, limits: InferenceLimits) {
    this.#scheduler = scheduler;
    this.#limits = limits;
    this.#admission = new Admission(limits);
  }

  /**
   * Answers one request. Whatever goes wrong, its memory goes back.
   *
   * @throws {HttpError} or {@link ProtocolError} where it is refused.
   */
  async answer(request: Request, model: Model, tenant: Tenant): Promise<Response> {
    const { signal } = request;
    const sizes = announcedSizes(request.headers, {
      byteSize: this.#limits.requestByteSizeMax,
      jsonByteSize: this.#limits.jsonByteSizeMax,
    });
    const body = new RequestBody(request, sizes);
    const header = parseInferHeader(await body.json(), body.binaryByteSize);
    const inputs = checkInputs(model, header);
    const wanted = checkOutputs(model, header);
    const layout = layoutOf(model, header.inputs, outputsOf(model, inputs));

    const { byteSize } = layout;
    const memory = await this.#admission.admit(byteSize, placeOf(model, byteSize), tenant, signal);
    try {
      using _coming = this.#scheduler.expect(model.name);
      await receive(body, memory, layout, header.inputs, signal);
      checkTexts(memory, layout);
    } catch (error) {
      memory.free();
      throw error;
    }
    const job = { modelName: model.name, owner: tenant.name, ...layout };
    const computed = await this.#scheduler.compute(job, memory, signal);
    const outputs = tensorsOf(computed, layout.outputs);
    return await answerOf(
      { modelName: model.name, id: header.id, outputs, wanted, memory: computed },
      signal,
    );
  }
}
