// The version is written in three places, which a release changes together.

import { expect, test } from "bun:test";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { packageVersion } from "../../src/native/version.ts";

const header = await Bun.file(join(import.meta.dir, "../../c/bun_cuda_memory.h")).text();

test("the version is the same in package.json, in TypeScript and in C", () => {
  expect(packageVersion).toBe(packageJson.version);
  expect(/^#define MEMORY_VERSION "(.*)"$/m.exec(header)?.[1]).toBe(packageJson.version);
});
