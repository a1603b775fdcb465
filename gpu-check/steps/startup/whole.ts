// A process that times a server's start, which is the first thing that it does.

import { tell } from "../../../harness/child/messages.ts";
import { createMemoryManagers } from "../../../src/index.ts";
import { requireDefaultPools } from "./default-pools.ts";
import type { StartMessage } from "./start-message.ts";

const start = performance.now();
createMemoryManagers();
const end = performance.now();
requireDefaultPools();
tell<StartMessage>({ kind: "start", milliseconds: { "createMemoryManagers()": end - start } });
