import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { AskedChild } from "../../harness/child/asked-child.ts";

const messagesPath = join(import.meta.dir, "../../harness/child/messages.ts");

type Answer = { kind: "ready" } | { kind: "sum"; sum: number };

/** A child that says that it is ready, and then does what `onRequest` says with each number. */
function start(onRequest: string, answerSecondsMax?: number): AskedChild<number, Answer> {
  const program = `
    import { requests, tell } from ${JSON.stringify(messagesPath)};
    let sum = 0;
    tell({ kind: "ready" });
    for await (const number of requests()) { ${onRequest} }
  `;
  return new AskedChild("the child", { argv: [process.execPath, "-e", program] }, answerSecondsMax);
}

describe("a child that is asked", () => {
  test("answers each request", async () => {
    using child = start("sum += number; tell({ kind: 'sum', sum });");
    expect(await child.next("ready")).toEqual({ kind: "ready" });
    expect(await child.ask(1, "sum")).toEqual({ kind: "sum", sum: 1 });
    expect(await child.ask(2, "sum")).toEqual({ kind: "sum", sum: 3 });
  });

  test("may say several things at once", async () => {
    using child = start("tell({ kind: 'sum', sum: 1 }); tell({ kind: 'sum', sum: 2 });");
    await child.next("ready");
    expect(await child.ask(0, "sum")).toEqual({ kind: "sum", sum: 1 });
    await Bun.sleep(50);
    expect(await child.next("sum")).toEqual({ kind: "sum", sum: 2 });
  });

  test("that ends is not waited for", async () => {
    using child = start("process.exit(3);");
    await child.next("ready");
    await expect(child.ask(1, "sum")).rejects.toThrow("the child ended: exit code 3");
  });

  test("that answers something else, or nothing, is found out", async () => {
    using child = start("if (number === 1) tell({ kind: 'ready' });", 0.5);
    await child.next("ready");
    await expect(child.ask(1, "sum")).rejects.toThrow('the child answered "ready", not "sum"');
    await expect(child.ask(2, "sum")).rejects.toThrow("the child does not answer");
  });
});
