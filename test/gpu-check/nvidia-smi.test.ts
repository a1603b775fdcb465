import { expect, test } from "bun:test";
import { namedGpuAt } from "../../gpu-check/steps/machine/nvidia-smi.ts";

test("bus addresses of nvidia-smi are understood", () => {
  const named = [
    { pciBusId: "00000000:00:05.0", name: "five", driver: "1" },
    { pciBusId: "00000000:0A:00.0", name: "ten", driver: "1" },
  ];
  expect(namedGpuAt(named, "0000:0a:00.0")).toEqual({ name: "ten", driver: "1" });
  expect(namedGpuAt(named, "0000:0b:00.0").name).toBe("unknown");
  expect(namedGpuAt(named, null).name).toBe("unknown");
});
