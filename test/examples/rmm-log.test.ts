import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AllocationEvents } from "../../examples/replay/allocation-events.ts";
import { parseRmmLog, readRmmLog, RmmLogError } from "../../examples/replay/rmm-log.ts";

const header = "Thread,Time,Action,Pointer,Size,Stream";

/** A log with these actions, pointers and sizes. */
function logOf(...lines: string[]): string {
  return [header, ...lines.map((line) => `1,00:00:00.000001,${line},0x2`), ""].join("\n");
}

function plain({ events, byteSizes }: AllocationEvents) {
  return { events: [...events], byteSizes: [...byteSizes] };
}

describe("a log", () => {
  test("becomes one event per allocation and free", () => {
    const log = logOf(
      "allocate,0x7f00,1000",
      "allocate,0x8f00,4294967297",
      "free,0x7f00,1000",
      "free,0x8f00,4294967297",
    );
    expect(plain(parseRmmLog(log, "log"))).toEqual({
      events: [0, 1, ~0, ~1],
      byteSizes: [1000, 4294967297],
    });
  });

  test("may use a pointer again once it is freed", () => {
    const log = logOf("allocate,0x1,10", "free,0x1,10", "allocate,0x1,20", "free,0x1,20");
    expect(plain(parseRmmLog(log, "log"))).toEqual({
      events: [0, ~0, 1, ~1],
      byteSizes: [10, 20],
    });
  });

  test("may end with live blocks, or be empty", () => {
    expect(plain(parseRmmLog(logOf("allocate,0x1,10"), "log"))).toEqual({
      events: [0],
      byteSizes: [10],
    });
    expect(plain(parseRmmLog(header, "log"))).toEqual({ events: [], byteSizes: [] });
  });

  test("may write a pointer in several ways", () => {
    const log = logOf("allocate,0x00AB,10", "free,ab,10");
    expect(plain(parseRmmLog(log, "log")).events).toEqual([0, ~0]);
  });

  test("may have lines that ask for no memory, or got none", () => {
    const log = logOf(
      "allocate,(nil),0",
      "allocate,0x0,0",
      "allocate failure,(nil),5000",
      "allocate failure,0x0,5000",
      "free,(nil),0",
      "allocate,0x5,0",
      "free,0x5,0",
      "allocate,0x5,7",
    );
    expect(plain(parseRmmLog(log, "log"))).toEqual({ events: [0], byteSizes: [7] });
  });

  test("may have line ends of Windows, blank lines, and 'deallocate'", () => {
    const log = logOf("allocate,0x1,10", "deallocate,0x1,10").replaceAll("\n", "\r\n\r\n");
    expect(plain(parseRmmLog(log, "log")).events).toEqual([0, ~0]);
  });
});

describe("an error names the file and the line", () => {
  test.each([
    ["no header", "1,0,allocate,0x1,10,0\n", 1, "header"],
    ["nothing", "", 1, "header"],
    ["a field too few", `${header}\n1,0,allocate,0x1,10\n`, 2, "got 5"],
    ["a field too many", `${header}\n1,0,allocate,0x1,10,0,0\n`, 2, "got 7"],
    ["a cut-off line", logOf("allocate,0x1,10") + "1,00:00", 3, "got 2"],
    ["an unknown action", logOf("allocate,0x1,10", "resize,0x1,10"), 3, '"resize"'],
    ["a malformed pointer", logOf("allocate,0xyz,10"), 2, '"0xyz"'],
    ["no pointer", logOf("allocate,,10"), 2, '""'],
    ["a negative size", logOf("allocate,0x1,-10"), 2, '"-10"'],
    ["a size that is no number", logOf("allocate,0x1,1e3"), 2, '"1e3"'],
    ["a size above 2^53", logOf("allocate,0x1,9007199254740993"), 2, "9007199254740993"],
    ["bytes at the null pointer", logOf("allocate,(nil),10"), 2, "null pointer"],
    ["an unknown pointer freed", logOf("allocate,0x1,10", "free,0x2,10"), 3, "0x2"],
    ["a block freed twice", logOf("allocate,0x1,1", "free,0x1,1", "free,0x1,1"), 4, "0x1"],
    ["a live block allocated", logOf("allocate,0x1,10", "allocate,0x1,10"), 3, "0x1"],
  ])("for %s", (_, log, line, detail) => {
    let thrown: unknown;
    try {
      parseRmmLog(log, "some.csv");
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(RmmLogError);
    const { message } = thrown as RmmLogError;
    expect(message).toStartWith(`some.csv:${line}: `);
    expect(message).toContain(detail);
  });
});

describe("a log file", () => {
  /** A folder that is removed again. */
  function temporaryFolder(): Disposable & { path: string } {
    const path = mkdtempSync(join(tmpdir(), "rmm-log-"));
    return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
  }

  const log = logOf("allocate,0x1,10", "free,0x1,10", "allocate,0x2,30");
  const expected = { events: [0, ~0, 1], byteSizes: [10, 30] };

  test("may be plain or gzipped, whatever its name", async () => {
    using folder = temporaryFolder();
    const plainPath = join(folder.path, "plain.gz");
    const gzipPath = join(folder.path, "packed.csv");
    await Bun.write(plainPath, log);
    await Bun.write(gzipPath, Bun.gzipSync(log));
    expect(plain(await readRmmLog(plainPath))).toEqual(expected);
    expect(plain(await readRmmLog(gzipPath))).toEqual(expected);
  });

  test("that cannot be read is named in the error", async () => {
    using folder = temporaryFolder();
    const cutPath = join(folder.path, "cut.csv.gz");
    await Bun.write(cutPath, Bun.gzipSync(log).subarray(0, 20));
    for (const path of [cutPath, join(folder.path, "absent.csv"), folder.path]) {
      const error: unknown = await readRmmLog(path).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(RmmLogError);
      expect((error as RmmLogError).message).toStartWith(`${path}: cannot be read: `);
    }
  });
});
