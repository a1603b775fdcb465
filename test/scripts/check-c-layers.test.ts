import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// The check of what C sources include, which `make check` runs, finds what it looks for.

const root = join(import.meta.dir, "../..");
const script = join(root, "scripts/check-c-layers.ts");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "c-layers-"));
});

beforeEach(() => {
  for (const tree of ["c", "simulator"]) {
    rmSync(join(folder, tree), { recursive: true, force: true });
    cpSync(join(root, tree), join(folder, tree), { recursive: true });
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function check() {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, script, folder]);
  return { exitCode, stderr: stderr.toString() };
}

/** Has a source include a header, both relative to the folder of the copies. */
function include(source: string, header: string): void {
  appendFileSync(join(folder, source), `#include "${header}"\n`);
}

test("the sources keep the rules", () => {
  expect(check()).toEqual({ exitCode: 0, stderr: "" });
});

describe("an include is refused", () => {
  test.each([
    ["c/pool/pool.c", "cuda/cudart.h", "c/pool may not include c/cuda/cudart.h"],
    ["c/pool/bins.h", "memory/refusal.h", "c/pool may not include c/memory/refusal.h"],
    ["c/pool/pool.h", "bun_cuda_memory.h", "c/pool may not include c/bun_cuda_memory.h"],
    ["c/cuda/stream.c", "memory/allocation.h", "c/cuda may not include c/memory/allocation.h"],
    ["c/cuda/event.h", "pool/pool.h", "c/cuda may not include c/pool/pool.h"],
    [
      "simulator/memory/staging.c",
      "api/entry_point.h",
      "simulator/memory may not include simulator/api/entry_point.h",
    ],
    [
      "simulator/api/memory_api.c",
      "../c/pool/pool.h",
      "simulator/api may not include c/pool/pool.h",
    ],
    ["simulator/api/memory_api.c", "pool/pool.h", '"pool/pool.h" is not a header of simulator'],
    ["c/memory/copy.c", "copy.h", '"copy.h" is not a header of c'],
  ])("%s includes %s", (source, header, message) => {
    include(source, header);
    const { exitCode, stderr } = check();
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${source}: ${message}`);
  });
});

test("modules that include each other are named", () => {
  include("c/memory/refusal.c", "memory/cuda_memory.h");
  const { exitCode, stderr } = check();
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^modules include each other: (c\/memory\/\w+) -> .*\1\n$/);
  expect(stderr).toContain("c/memory/cuda_memory");
  expect(stderr).toContain("c/memory/refusal");
});

test("a folder that the rules do not know is a mistake", () => {
  mkdirSync(join(folder, "c/misc"));
  writeFileSync(join(folder, "c/misc/misc.c"), "");
  expect(check()).toEqual({
    exitCode: 1,
    stderr: "c/misc/misc.c: no rule says what its folder may include\n",
  });
});

test("nothing to look at is a mistake", () => {
  for (const tree of ["c", "simulator"]) {
    rmSync(join(folder, tree), { recursive: true });
    mkdirSync(join(folder, tree));
  }
  expect(check()).toEqual({ exitCode: 1, stderr: "no includes were found\n" });
});
