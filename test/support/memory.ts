// All that tests say of memory.

export { expectMemoryError } from "./expectations.ts";
export { gpus, logged, resetAfterEach } from "./runtime.ts";
export { notWholeNumbers, patternBytes, pointerPlus, untyped } from "./values.ts";
