import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseJunit } from "../../gpu-check/steps/behaviour.ts";

test("a JUnit report of bun's is understood", () => {
  const path = mkdtempSync(join(tmpdir(), "gpu-check-"));
  let xml: string;
  try {
    const [testPath, xmlPath] = [join(path, "some.test.ts"), join(path, "junit.xml")];
    const text = `
        import { describe, expect, test } from "bun:test";
        test("a < b > c & 'd'", () => {});
        describe("group", () => {
          test("fails", () => expect(1).toBe(2));
          // So that the report has one that was skipped.
          test.skip("is skipped", () => {});
        });
      `;
    writeFileSync(testPath, text);
    Bun.spawnSync(
      [process.execPath, "test", testPath, "--reporter=junit", `--reporter-outfile=${xmlPath}`],
      { cwd: path },
    );
    xml = readFileSync(xmlPath, "utf8");
  } finally {
    rmSync(path, { recursive: true });
  }
  expect(parseJunit(xml).map(({ name, outcome }) => [name, outcome])).toEqual([
    ["a < b > c & 'd'", "passed"],
    ["group > fails", "failed"],
    ["group > is skipped", "skipped"],
  ]);
});
