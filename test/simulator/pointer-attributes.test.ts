import { describe, expect, test } from "bun:test";
import { runOn } from "./process.ts";

describe("cudaPointerGetAttributes", () => {
  test("knows device, pinned and other memory", () => {
    const result = runOn({ devices: "8.0:1048576,8.0:1048576" }, ({ cuda }) => {
      cuda.setDevice(1);
      const device = cuda.malloc(4096).value;
      const pinned = cuda.hostAlloc(4096).value;
      cuda.setDevice(0);
      const relative = (pointer: number, base: number) => {
        const { error, type, device: id, ...pointers } = cuda.pointerAttributes(pointer);
        return [error, type, id, pointers.devicePointer - base, pointers.hostPointer - base];
      };
      return {
        device: cuda.pointerAttributes(device).hostPointer,
        inDevice: relative(device + 4095, device).slice(0, 4),
        behindDevice: relative(device + 4096, device).slice(0, 3),
        inPinned: relative(pinned + 4095, pinned),
        other: cuda.pointerAttributes(4096),
        nothing: cuda.pointerAttributes(null),
        nowhere: cuda.callWithZeros("cudaPointerGetAttributes"),
        freed: [
          cuda.free(device),
          cuda.freeHost(pinned),
          cuda.pointerAttributes(device).type,
          cuda.pointerAttributes(pinned).type,
        ],
      };
    });
    expect(result).toEqual({
      device: 0,
      inDevice: [0, 2, 1, 4095],
      behindDevice: [0, 0, -2],
      inPinned: [0, 1, 1, 4095, 4095],
      other: { error: 0, type: 0, device: -2, devicePointer: 0, hostPointer: 4096 },
      nothing: { error: 0, type: 0, device: -2, devicePointer: 0, hostPointer: 0 },
      nowhere: 1,
      freed: [0, 0, 0, 0],
    });
  });
});
