// The package and some helpers, for functions that run in a process of their own.

import { subscribe } from "node:diagnostics_channel";
import { type MemoryMessage, setLogger } from "../../src/index.ts";
import type { MemoryError } from "../../src/memory-error.ts";
import { memoryLibrary } from "../../src/native/memory-library.ts";
import { resultOf, spawnBody } from "./process.ts";

export * from "../../src/index.ts";
export { CudartSimulator } from "../../src/simulator.ts";
export { cudart } from "../../src/native/cudart.ts";

/** Every message, as level and text. */
export const logged: [level: string, message: string][] = [];

setLogger({
  info: (message) => void logged.push(["info", message]),
  warn: (message) => void logged.push(["warn", message]),
  error: (message) => void logged.push(["error", message]),
});

export const messagesOf = (level: string) =>
  logged.filter(([of]) => of === level).map(([, message]) => message);

/** Subscribes to the channel. What is published from now on is in what this returns. */
export function subscribeToMessages(): MemoryMessage[] {
  const messages: MemoryMessage[] = [];
  subscribe("bun-cuda-memory", (message) => void messages.push(message as MemoryMessage));
  return messages;
}

/** The outcome of an action: "OK", or the error's code and message. */
export function outcomeOf(action: () => unknown): string {
  try {
    action();
    return "OK";
  } catch (error) {
    const { code, message } = error as MemoryError;
    return `${code}: ${message}`;
  }
}

export const nonpinnedCount = () => memoryLibrary.pinned_memory_nonpinned_count();

const runtimeVariables = {
  BUN_CUDA_MEMORY_CUDART: undefined,
  CUDART_SIM_DEVICES: undefined,
  CUDART_SIM_FAULTS: undefined,
};

type Package = typeof import("./package.ts");

/** Runs a body with the package in a process with just this environment. Returns its result. */
export function runWithPackage<Result>(
  environment: Record<string, string>,
  body: (exports: Package) => Result,
): Awaited<Result> {
  return resultOf(spawnBody(import.meta.path, body, { ...runtimeVariables, ...environment }));
}
