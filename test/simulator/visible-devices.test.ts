// What is expected here was measured on two H100s with driver 580.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { resultOf, spawnBody } from "../support/process.ts";
import type { Cuda } from "./cudart.ts";

/** The devices' capabilities are 8.0, 8.1 and 8.2. */
const devices = [0, 1, 2].map((minor) => `8.${minor}:1048576`).join(",");
const uuids = [0, 1, 2].map((n) => `GPU-5100000${n}-0000-4000-8000-00000000000${n}`);

/** The minor capabilities of the devices that a process sees, or the error of counting them. */
function seenWith(visible: string | undefined): number | number[] {
  const body = ({ cuda }: { cuda: Cuda }) => {
    const { error, value } = cuda.deviceCount();
    return error || Array.from({ length: value }, (_, device) => cuda.attribute(76, device).value);
  };
  return resultOf(
    spawnBody(join(import.meta.dir, "cudart.ts"), body as never, {
      CUDART_SIM_DEVICES: devices,
      CUDA_VISIBLE_DEVICES: visible,
    }),
  );
}

describe("CUDA_VISIBLE_DEVICES", () => {
  test.each([
    [undefined, [0, 1, 2]],
    ["", 100],
    ["-1", 100],
    ["0", [0]],
    ["1,0", [1, 0]],
    ["2,0,1", [2, 0, 1]],
    ["0,7,1", [0]],
    ["7", 100],
    ["0,-1,1", [0]],
    ["0,,1", [0]],
    [",0", 100],
    [" 1", [1]],
    ["1 ,2", [1, 2]],
    ["1 0", [1]],
    ["0,1x", [0, 1]],
    ["0x1", [0]],
    ["+1", [1]],
    ["01", [1]],
    ["all", 100],
    ["99999999999999999999", 100],
    ["0,0", 101],
    ["1,1,0", 101],
    [uuids[1], [1]],
    [uuids[1]!.toUpperCase(), [1]],
    [`${uuids[2]},${uuids[0]}`, [2, 0]],
    ["GPU-51000002", [2]],
    ["GPU-5100000", 100],
    ["GPU-", 100],
    ["GPU-ff", 100],
    [`${uuids[1]}x`, [1]],
    [uuids[1]!.slice(4), 100],
    [`${uuids[1]},GPU-ff,${uuids[0]}`, [1]],
    [`${uuids[1]},0`, [1]],
    [`1,${uuids[0]}`, [1]],
    [`${uuids[1]},${uuids[1]}`, 101],
  ] as const)("of %p", (visible, seen) => {
    expect(seenWith(visible)).toEqual(seen as never);
  });
});
