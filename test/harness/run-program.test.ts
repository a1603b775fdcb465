import { describe, expect, test } from "bun:test";
import type { Message } from "../../harness/child/messages.ts";
import { messagesOf, runProgram } from "../../harness/child/run-program.ts";

describe("a program that is run", () => {
  /** Runs a shell script in a process group of its own; gives what was heard and how it ended. */
  async function run(script: string, timeoutSeconds: number) {
    const heard: Message[] = [];
    const log: string[] = [];
    const ending = await runProgram(
      { argv: ["sh", "-c", script], hasOwnGroup: true, timeoutSeconds },
      {
        onMessage: (message) => void heard.push(message),
        onLog: (line) => void log.push(line),
      },
    );
    expect([heard, log.join("\n")]).toEqual([ending.messages, ending.output]);
    return ending;
  }

  /**
   * Waits until a process has ended; only the test's time limit ends the wait for one that was not
   * killed. A killed process closes its output a moment before the system says that it has ended,
   * and stays a zombie (Z) until whoever is its parent now takes note.
   */
  async function ended(pid: number): Promise<void> {
    expect(pid).toBeGreaterThan(0);
    for (;;) {
      const state = await Bun.file(`/proc/${pid}/stat`)
        .text()
        .catch(() => "gone");
      if (state === "gone" || / [ZX] /.test(state)) return;
      await Bun.sleep(1);
    }
  }

  const message = { kind: "skipped", name: "a", reason: "b" } as Message;
  const printed = `echo '${JSON.stringify(message)}'`;

  test("is heard until it crashes", async () => {
    const { failure, output, messages } = await run(
      `echo c; sleep 0.01; ${printed}; echo d >&2; kill -SEGV $$`,
      10,
    );
    expect(failure).toBe("SIGSEGV");
    expect(output).toBe("c\nd");
    expect(messages).toEqual([message]);
  });

  test("is killed when it hangs, with what it started", async () => {
    const { failure, output, messages } = await run(`${printed}; sleep 100 & echo $!; wait`, 0.3);
    expect(failure).toBe("no end in 0.3 s");
    expect(messages).toEqual([message]);
    await ended(Number(output));
  });

  test("that ends well leaves nothing running either", async () => {
    const { failure, output } = await run("sleep 100 & echo $!", 10);
    expect(failure).toBe("");
    await ended(Number(output));
  });

  test("leaves half a message, as it is when it crashes, in the log", async () => {
    const { output, messages } = await run(`${printed}; printf '{"kind":"hal'`, 10);
    expect([messages, output]).toEqual([[message], '{"kind":"hal']);
  });

  test("has to end well where only its messages are wanted", async () => {
    expect(await messagesOf({ argv: ["sh", "-c", printed] })).toEqual([message]);
    const failing = messagesOf({ argv: ["sh", "-c", "echo why >&2; exit 3"] });
    await expect(failing).rejects.toThrow("sh: exit code 3\nwhy");
  });
});
