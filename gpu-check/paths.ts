import { fileURLToPath } from "node:url";

/** Where make and git run, and what paths in a message are relative to. */
export const rootFolder = fileURLToPath(new URL("..", import.meta.url));

/** The logs of the programs that were run, and what they read and wrote. */
export const workFolder = fileURLToPath(new URL("../build/gpu-check", import.meta.url));
