// The check of the API reference's examples, which `make docs` runs, finds what it looks for.

import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const script = join(import.meta.dir, "../../scripts/check-examples.ts");

/** Checks a reference with one function, whose comment has these examples. */
function check(...examples: string[]) {
  const blockTags = examples.map((code) => ({
    tag: "@example",
    content: [{ kind: "code", text: `\`\`\`ts\n${code}\n\`\`\`` }],
  }));
  const signature = { name: "setLogger", kind: 4096, comment: { blockTags } };
  const children = [{ name: "setLogger", kind: 64, signatures: [signature] }];
  const folder = mkdtempSync(join(tmpdir(), "check-examples-"));
  try {
    const path = join(folder, "api.json");
    writeFileSync(path, JSON.stringify({ children: [{ name: "index", kind: 2, children }] }));
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, script, path]);
    return { exitCode, problems: stderr.toString() };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("an example that type-checks is what it wants", () => {
  expect(check("setLogger(console);")).toEqual({ exitCode: 0, problems: "" });
});

test("a function without an example is a problem", () => {
  const { exitCode, problems } = check();
  expect(exitCode).toBe(1);
  expect(problems).toContain("index.setLogger has no @example");
});

test("an example that does not type-check is a problem", () => {
  const { exitCode, problems } = check("setLogger(console);", "setLogger(7);");
  expect(exitCode).toBe(1);
  expect(problems).toContain("index.setLogger-1.ts");
});

test("a reference without any example is a problem", () => {
  const { exitCode, problems } = check();
  expect(exitCode).toBe(1);
  expect(problems).toContain("has no examples at all");
});
