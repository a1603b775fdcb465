import { expect, test } from "bun:test";
import { cString } from "../../src/native/c-string.ts";
import { cudart, cudartPath } from "../../src/native/cudart.ts";
import { memoryLibrary } from "../../src/native/memory-library.ts";

test("the path of the CUDA runtime is the one that the process agreed upon", () => {
  const path = cudartPath();
  expect(cudart() === null).toBe(path === null);
  expect(String(memoryLibrary.cudart_claim(cString("/another/libcudart.so")))).toBe(path ?? "");
});
