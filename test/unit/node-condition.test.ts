import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as index from "../../src/index.ts";
import * as simulator from "../../src/simulator.ts";

test.each([
  ["node.js", index],
  ["node-simulator.js", simulator],
])("src/%s, which Node imports in the package's place, has its names", (name, exports) => {
  const text = readFileSync(join(import.meta.dir, "../../src", name), "utf8");
  const names = /^export const \{([^}]+)\}/m.exec(text)![1]!.match(/\w+/g);
  expect(names?.toSorted()).toEqual(Object.keys(exports).toSorted());
});
