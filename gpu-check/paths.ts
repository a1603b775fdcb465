import { join } from "node:path";
import { rootFolder } from "../harness/paths.ts";

/** Holds the logs of the programs that were run, and the files that they read and wrote. */
export const workFolder = join(rootFolder, "build/gpu-check");
