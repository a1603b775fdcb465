// What a test needs of the machine: compilers, and parts of the CUDA toolkit.

import { test } from "bun:test";
import { realpathSync } from "node:fs";
import {
  cCompiler,
  cudaHeaderVersion,
  cudaIncludeFolder,
  cudartPath,
  cxxCompiler,
} from "../support/toolkit.ts";

/** The CUDA whose ABI the simulator has; its header must be of the same major version. */
const simulatedMajorVersion = 13;

export type Need =
  "C compiler" | "C++ compiler" | "CUDA header" | "CUDA 13 header" | "libcudart 13";

/** Why a need is not met, or undefined when it is. */
function missing(need: Need): string | undefined {
  switch (need) {
    case "C compiler":
      return cCompiler === null ? "no C compiler" : undefined;
    case "C++ compiler":
      return cxxCompiler === null ? "no C++ compiler" : undefined;
    case "CUDA header":
      return cudaIncludeFolder === undefined ? "no cuda_runtime_api.h" : undefined;
    case "CUDA 13 header": {
      const version = cudaIncludeFolder === undefined ? 0 : cudaHeaderVersion(cudaIncludeFolder);
      const matches = Math.floor(version / 1000) === simulatedMajorVersion;
      return matches ? undefined : `no cuda_runtime_api.h of CUDA ${simulatedMajorVersion}`;
    }
    case "libcudart 13": {
      const soname = `libcudart.so.${simulatedMajorVersion}`;
      const matches = cudartPath !== undefined && realpathSync(cudartPath).includes(soname);
      return matches ? undefined : `no ${soname}`;
    }
  }
}

/** A test that is skipped, with the reason in its name, where a need is not met. */
export function testWith(needs: readonly Need[], name: string, body: () => void): void {
  const reasons = needs.map(missing).filter((reason) => reason !== undefined);
  const skipped = reasons.length > 0;
  test.skipIf(skipped)(skipped ? `${name} (skipped: ${reasons.join(", ")})` : name, body);
}
