// Every code block of the README, in their order, in the project of somebody who follows it.

import { expect, test } from "bun:test";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { emptyFolder, pathWithCompiler, repository, run, tarballPath } from "./consumer.ts";

const readme = readFileSync(join(repository, "README.md"), "utf8");
const folder = emptyFolder();
copyFileSync(tarballPath, join(folder, basename(tarballPath)));
writeFileSync(join(folder, "package.json"), "{}\n");

async function runShell(code: string): Promise<void> {
  const environment = { PATH: pathWithCompiler };
  const exit = await run(["/bin/bash", "-euo", "pipefail", "-c", code], folder, environment);
  expect(exit).toMatchObject({ exitCode: 0 });
}

/** Commands for a checkout: CI runs each of them as a step of its own. */
function checkMakeTargets(code: string): void {
  const ci = readFileSync(join(repository, ".ci/run"), "utf8");
  for (const command of code
    .trim()
    .split("\n")
    .map((line) => line.replace(/\s*#.*/, ""))) {
    expect(ci).toMatch(new RegExp(`^\\w+ '[^']+' ${command}$`, "m"));
  }
}

/** A map of the source: each line begins with a path that has to be there. */
async function checkPaths(map: string): Promise<void> {
  for (const [pattern] of map.matchAll(/^\S+/gm)) {
    const glob = new Bun.Glob(pattern.replace(/\/$/, ""));
    const paths = await Array.fromAsync(glob.scan({ cwd: repository, onlyFiles: false }));
    expect({ pattern, count: paths.length }).not.toEqual({ pattern, count: 0 });
  }
}

const blocks = [...readme.matchAll(/^```(\w*) ?(\S*)\n(.*?)^```$/gms)].map(
  ([, language, fileName, code], index) => ({ index, language, fileName: fileName!, code: code! }),
);

test("the README has code blocks, each of which begins and ends", () => {
  expect(blocks.length).toBe(readme.match(/^```/gm)!.length / 2);
  expect(blocks.filter(({ language }) => language === "ts").length).toBeGreaterThan(1);
});

test.each(blocks)(
  "code block $index: $language $fileName",
  async ({ language, fileName, code }) => {
    if (language === "ts" && fileName !== "") {
      writeFileSync(join(folder, fileName), code);
      if (!fileName.endsWith(".test.ts")) await runShell(`bun ${fileName}`);
    } else if (language === "sh" && fileName === "") {
      if (/^(make .*\n)+$/.test(code)) checkMakeTargets(code);
      else await runShell(code);
    } else if (language === "text") {
      await checkPaths(code);
    } else {
      throw new Error(`a block of a kind that nothing here can try: ${language} ${fileName}`);
    }
  },
);
