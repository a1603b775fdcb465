import { join } from "node:path";
import { rootFolder } from "../harness/paths.ts";

/** The logs of the programs that were run, and what they read and wrote. */
export const workFolder = join(rootFolder, "build/gpu-check");
