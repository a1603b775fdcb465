import { dlopen } from "bun:ffi";
import { quoted } from "../describe.ts";
import { cString } from "./c-string.ts";
import { processVariable } from "./environment.ts";
import { simulatorSymbols } from "./simulator-symbols.ts";

/** The variables that `simulator/cudart_sim.h` describes. */
const variableNames = [
  "CUDART_SIM_DEVICES",
  "CUDART_SIM_FAULTS",
  "CUDART_SIM_NS_PER_BYTE",
  "CUDART_SIM_OPERATION_NS",
] as const;

/**
 * Hands this process's `CUDART_SIM_` variables over to a CUDA runtime that is a simulator: Bun's
 * `.env` files, and assignments to `process.env`, are not seen by C's `getenv()`. Returns what is wrong, as a
 * sentence, where the simulator has started with other values; otherwise `null`.
 */
export function handOverVariables(path: string): string | null {
  const values = variableNames
    .map((name) => [name, processVariable(name)] as const)
    .filter(([, value]) => value !== undefined);
  if (values.length === 0) return null;
  const setVariable = openSetter(path);
  if (setVariable === null) return null;
  const late = values.filter(([name, value]) => setVariable(cString(name), cString(value!)) !== 0);
  if (late.length === 0) return null;
  const listed = late.map(([name, value]) => `${name} is ${quoted(value!)}`).join(", ");
  return `${listed}, which comes too late: the CUDA runtime simulator has started with another value`;
}

function openSetter(path: string) {
  try {
    const { cudartSimSetVariable } = simulatorSymbols;
    return dlopen(path, { cudartSimSetVariable }).symbols.cudartSimSetVariable;
  } catch {
    return null; // it is not a simulator
  }
}
