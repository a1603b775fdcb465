import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { broken, checkOf, kept, skipped } from "../../harness/run/findings.ts";
import type { GpuCheckStep } from "../context.ts";
import { workFolder } from "../paths.ts";

/** The outcome of one test, as a JUnit report has it. */
interface TestCase {
  file: string;
  name: string;
  outcome: "passed" | "failed" | "skipped";
}

const entities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

function unescapeXml(text: string): string {
  return text.replace(/&(\w+);/g, (whole, name: string) => entities[name] ?? whole);
}

/** Reads the tests of a report that bun wrote. It understands no other XML. */
export function parseJunit(xml: string): TestCase[] {
  return [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs)].map((match) => {
    const [, attributes = "", body = ""] = match;
    const attribute = (name: string) =>
      unescapeXml(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
    const group = attribute("classname");
    return {
      file: attribute("file"),
      name: group === "" ? attribute("name") : `${group} > ${attribute("name")}`,
      outcome: /<(failure|error)\b/.test(body)
        ? "failed"
        : body.includes("<skipped")
          ? "skipped"
          : "passed",
    };
  });
}

export const behaviour: GpuCheckStep = {
  name: "behaviour",
  title: "Run the behavioural tests",
  async run(context) {
    const junitPath = join(workFolder, "behaviour.xml");
    rmSync(junitPath, { force: true });
    const { failure, output } = await context.run({
      argv: [
        process.execPath,
        "test",
        "test/behaviour",
        "test/examples/gateway",
        "--timeout=60000", // the first test of a process may wait for a GPU to wake up
        "--reporter=junit",
        `--reporter-outfile=${junitPath}`,
      ],
      timeoutSeconds: 180,
      environment: { BUN_CUDA_MEMORY_TEST_RUNTIME: "real" },
    });
    const tests = existsSync(junitPath) ? parseJunit(readFileSync(junitPath, "utf8")) : [];
    for (const [file, ofFile] of Map.groupBy(tests, (test) => test.file)) {
      const named = (outcome: TestCase["outcome"]) =>
        ofFile.filter((test) => test.outcome === outcome).map(({ name }) => name);
      const failed = named("failed");
      const passedCount = named("passed").length;
      if (failed.length > 0) context.add(broken(file, `${failed.join("\n")}\n${output}`));
      else if (passedCount > 0) context.add(kept(file, `${passedCount} tests passed`));
      for (const name of named("skipped")) {
        context.add(skipped(`${file}: ${name}`, "the test skips itself on this machine"));
      }
    }
    const isAccounted = failure === "" && tests.length > 0;
    context.add(
      checkOf(
        "the run of the tests ended well",
        isAccounted,
        isAccounted ? `${tests.length} tests` : `${failure || "no test ran"}\n${output}`,
      ),
    );
  },
};
