import { describe, expect, test } from "bun:test";
import { cuda as ownCuda } from "./cudart.ts";

describe("errors", () => {
  test("have CUDA's names and texts", () => {
    const errors = [0, 1, 2, 3, 35, 100, 101, 400, 600, 704, 712, 801, 999];
    expect(errors.map((error) => ownCuda.errorName(error))).toEqual([
      "cudaSuccess",
      "cudaErrorInvalidValue",
      "cudaErrorMemoryAllocation",
      "cudaErrorInitializationError",
      "cudaErrorInsufficientDriver",
      "cudaErrorNoDevice",
      "cudaErrorInvalidDevice",
      "cudaErrorInvalidResourceHandle",
      "cudaErrorNotReady",
      "cudaErrorPeerAccessAlreadyEnabled",
      "cudaErrorHostMemoryAlreadyRegistered",
      "cudaErrorNotSupported",
      "cudaErrorUnknown",
    ]);
    expect(ownCuda.errorText(2)).toBe("out of memory");
  });

  test.each([-1, 5000, 2 ** 31 - 1])("of an unknown number, %d, are unrecognized", (error) => {
    expect(ownCuda.errorName(error)).toBe("unrecognized error code");
    expect(ownCuda.errorText(error)).toBe("unrecognized error code");
  });
});
