import { describe, expect, test } from "bun:test";
import { runOn } from "./process.ts";

describe("a host function", () => {
  test("is called in its turn, on the stream's thread", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      // sem_post counts the semaphore's first word up.
      const semaphore = cuda.hostAlloc(64).value;
      cuda.memsetAsync(device, 1, 1, stream);
      const launched = cuda.launchHostFunction(stream, cuda.cFunction("sem_post"), semaphore);
      const early = cuda.dereference(semaphore);
      cuda.synchronizeStream(stream);
      return {
        launched,
        early,
        late: cuda.dereference(semaphore),
        null: cuda.launchHostFunction(stream, null, 0),
      };
    });
    expect(result).toEqual({ launched: 0, early: 0, late: 1, null: 1 });
  });

  test("may not call CUDA", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      // It would wait for itself.
      cuda.launchHostFunction(stream, cuda.cudaFunction("cudaStreamSynchronize"), stream);
      return [cuda.synchronizeStream(stream), simulator.callCount("cudaStreamSynchronize")];
    });
    expect(result).toEqual([0, 2]);
  });
});
