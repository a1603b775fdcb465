// A process that asks the CUDA runtime about the machine, and says what it learned in one message.

import { readFileSync } from "node:fs";
import { tell } from "../../../harness/child/messages.ts";
import { getSupportedGpus } from "../../../src/index.ts";
import * as cuda from "../../cuda.ts";
import { namedGpuAt, namedGpus } from "./nvidia-smi.ts";

export interface Gpu extends cuda.MemoryInfo {
  deviceId: number;
  computeCapability: number;
  /** `"unknown"` where nvidia-smi is not there to say, as for the driver. */
  name: string;
  driver: string;
}

export interface GpuMachine {
  /** The package's native libraries that the process has loaded. */
  nativeLibraryPaths: string[];
  cudartPath: string;
  isSimulator: boolean;
  runtimeVersion: number;
  driverVersion: number;
  gpus: Gpu[];
  supportedGpus: number[];
}

/** The only message of this process. */
export interface MachineMessage {
  kind: "machine";
  machine: GpuMachine;
}

function nativeLibraryPaths(): string[] {
  const maps = readFileSync("/proc/self/maps", "utf8");
  return [...new Set(maps.match(/\/\S*libbun_cuda_memory\S*/g))];
}

if (import.meta.main) {
  const named = namedGpus();
  const gpus = Array.from({ length: cuda.deviceCount() }, (_, deviceId): Gpu => ({
    deviceId,
    computeCapability: cuda.computeCapability(deviceId),
    ...cuda.memoryInfo(deviceId),
    ...namedGpuAt(named, cuda.pciBusId(deviceId)),
  }));
  const machine: GpuMachine = {
    nativeLibraryPaths: nativeLibraryPaths(),
    cudartPath: cuda.cudartPath,
    isSimulator: cuda.isSimulator(),
    runtimeVersion: cuda.runtimeVersion(),
    driverVersion: cuda.driverVersion(),
    gpus,
    supportedGpus: getSupportedGpus(),
  };
  tell<MachineMessage>({ kind: "machine", machine });
}
