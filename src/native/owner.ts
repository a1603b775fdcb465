import { memoryLibrary } from "./memory-library.ts";

/**
 * This thread's number as an owner of memory, which the native library gives. What a thread owns is
 * given back after the thread has ended.
 */
export const owner = memoryLibrary.memory_owner();
