import { PinnedMemoryManager } from "bun-cuda-memory";
import type { Datatype } from "../protocol/datatype.ts";
import type { Model, Place } from "./engine.ts";

// The models of the engines that compute in this process. Two have the names of those in Triton's
// quick start, so that NVIDIA's examples of clients work. Each output is as large as the input that
// it is computed from, element by element, and takes its place.

/** Pinned memory where there is some, because a GPU reads it fastest. */
function hostPlace(): Place {
  const isPinned = PinnedMemoryManager.totalByteSize > 0;
  return { memoryType: isPinned ? "CPU_PINNED" : "CPU", memoryTypeId: 0 };
}

function elementwise(
  name: string,
  datatype: Datatype,
  tensorCount: number,
  maxBatchSize: number,
  place: Place,
): Model {
  const named = (prefix: string) =>
    Array.from({ length: tensorCount }, (_, index) => ({
      name: `${prefix}${index}`,
      datatype,
      shape: [-1, -1],
    }));
  const [inputs, outputs] = [named("INPUT"), named("OUTPUT")];
  return { name, inputs, outputs, maxBatchSize, ...place, isInPlace: true };
}

/** @param deviceId The GPU that tensors are to be on; `null` for the host's memory. */
export function localModels(deviceId: number | null): ReadonlyMap<string, Model> {
  const place: Place =
    deviceId === null ? hostPlace() : { memoryType: "GPU", memoryTypeId: deviceId };
  const models = [
    // The sum and the difference of its two inputs.
    elementwise("simple", "INT32", 2, 64, place),
    elementwise("identity", "UINT8", 1, 0, place),
    // Texts are read by the host, which has to look where each ends.
    elementwise("simple_identity", "BYTES", 1, 0, hostPlace()),
  ];
  return new Map(models.map((model) => [model.name, model]));
}
