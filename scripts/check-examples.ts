// check-examples.ts API.json: fails unless every function, class and object of the API reference has
// an example, and every example there type-checks. The reference is what TypeDoc writes as JSON.
//
// An example that imports nothing sees everything that the package exports, and the objects of other
// examples that go by the names below.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Comment {
  readonly blockTags?: readonly {
    readonly tag: string;
    readonly content: readonly { readonly kind: string; readonly text: string }[];
  }[];
}

interface Reflection {
  readonly name: string;
  readonly kind: number;
  readonly comment?: Comment;
  readonly children?: readonly Reflection[];
  readonly signatures?: readonly Reflection[];
}

/** TypeDoc's `ReflectionKind`. */
const kinds = { variable: 32, function: 64, class: 128 } as const;
const valueKinds: readonly number[] = Object.values(kinds);

const root = join(import.meta.dir, "..");

const [referencePath] = process.argv.slice(2);
if (referencePath === undefined) throw new Error("usage: bun check-examples.ts API.json");
const reference = (await Bun.file(referencePath).json()) as Reflection;
const entries = reference.children ?? [];

/** The code of a comment's examples. */
function examplesOf(comment: Comment | undefined): string[] {
  return (comment?.blockTags ?? [])
    .filter(({ tag }) => tag === "@example")
    .flatMap(({ content }) => content)
    .flatMap(({ kind, text }) => (kind === "code" ? [/^```ts\n(.*)\n```$/s.exec(text)?.[1]] : []))
    .filter((code) => code !== undefined);
}

const commentsOf = ({ comment, signatures = [] }: Reflection) =>
  [comment, ...signatures.map((signature) => signature.comment)].filter((one) => one !== undefined);

/** The examples of a reflection and of all that is in it, each with the name of what it is for. */
function* allExamples(reflection: Reflection, path: string): Generator<[string, string]> {
  for (const code of commentsOf(reflection).flatMap(examplesOf)) yield [path, code];
  for (const child of reflection.children ?? []) {
    yield* allExamples(child, `${path}.${child.name}`);
  }
}

function withoutExample(entry: Reflection): string[] {
  return (entry.children ?? [])
    .filter(({ kind }) => valueKinds.includes(kind))
    .filter((value) => commentsOf(value).flatMap(examplesOf).length === 0)
    .map(({ name }) => `${entry.name}.${name} has no @example`);
}

/** Imports all that the package exports: its values, and its types where no value has the name. */
const prelude = entries
  .map(({ name, children = [] }) => {
    const path = name === "index" ? "bun-cuda-memory" : `bun-cuda-memory/${name}`;
    const names = children.map((child) =>
      valueKinds.includes(child.kind) ? child.name : `type ${child.name}`,
    );
    return `import { ${names.join(", ")} } from "${path}";\n`;
  })
  .join("");

/** What examples of a method may take as given. */
const cast = `
declare const tensor: import("bun-cuda-memory").AllocatedMemory;
declare const staging: import("bun-cuda-memory").AllocatedMemory;
declare const stream: import("bun-cuda-memory").CudaStream;
`;

/** An example may declare anew what is declared around it. */
function sourceOf(code: string): string {
  if (/^import /m.test(code)) return `${code}\n`;
  return `${prelude}${cast}\nasync function example() {\n${code}\n}\n`;
}

/** What the type checker has against the examples. */
function typeErrors(examples: readonly [string, string][]): string[] {
  const folder = join(root, "build/examples");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  examples.forEach(([path, code], index) => {
    writeFileSync(join(folder, `${path}-${index}.ts`), sourceOf(code));
  });
  const compilerOptions = { noUnusedLocals: false };
  const config = { extends: "../../tsconfig.json", compilerOptions, include: ["."] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { success, stdout } = Bun.spawnSync([process.execPath, tsc, "-p", folder], { cwd: folder });
  return success ? [] : stdout.toString().trim().split("\n");
}

const examples = entries.flatMap((entry) => [...allExamples(entry, entry.name)]);
const problems = [...entries.flatMap(withoutExample), ...typeErrors(examples)];
if (examples.length === 0) problems.push(`${referencePath} has no examples at all`);
for (const problem of problems) console.error(problem);
console.log(`${examples.length} examples, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
