// A server's start in a process that has just begun, as a line of JSON: milliseconds by what was
// done.

import { createMemoryManagers } from "../../../src/index.ts";
import { requireDefaultPools } from "./default-pools.ts";

const start = performance.now();
createMemoryManagers();
const end = performance.now();
requireDefaultPools();
console.log(JSON.stringify({ "createMemoryManagers()": end - start }));
