// The benchmark's own arithmetic, its simulated packers, and that all of it runs.

import { describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatFigures, formatNote, formatNumber } from "../../harness/text/format.ts";
import { parseBenchOptions } from "../../bench/options.ts";
import { readLogs } from "../../bench/steps/packing/logs.ts";
import { simulationServes } from "../../bench/steps/packing/packers.ts";
import { randomNumbers } from "../../harness/workloads/random.ts";
import type { BenchReport } from "../../bench/report.ts";
import { orderOfRound, runRounds } from "../../harness/timing/rounds.ts";
import { Load } from "../../bench/steps/service/load.ts";
import { limitOf } from "../../bench/section.ts";
import { mean, median, percentile, ratios, summarize } from "../../harness/timing/statistics.ts";
import {
  type AllocationEvents,
  AllocationEventsBuilder,
} from "../../examples/replay/allocation-events.ts";

const main = join(import.meta.dir, "../../bench/main.ts");

/** Runs the benchmark without a runtime chosen, as a user does. */
function bench(...argv: string[]) {
  const env = { ...process.env, BUN_CUDA_MEMORY_CUDART: "", CUDART_SIM_DEVICES: "" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, ...argv], { env });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe("statistics", () => {
  test("percentiles lie between the values", () => {
    expect(percentile([4, 1, 3, 2, 5], 0)).toBe(1);
    expect(percentile([4, 1, 3, 2, 5], 1)).toBe(5);
    expect(percentile([4, 1, 3, 2, 5], 0.9)).toBeCloseTo(4.6);
    expect(percentile([10, 9], 0.25)).toBe(9.25);
    expect(percentile([], 0.5)).toBeNaN();
  });

  test("medians of even, odd and large numbers", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([100, 9])).toBe(54.5);
    expect(summarize(Array.from({ length: 11 }, (_, i) => i))).toEqual({
      median: 5,
      p10: 1,
      p90: 9,
    });
  });

  test("ratios are those of the same round", () => {
    expect(ratios([2, 9], [4, 3])).toEqual([0.5, 3]);
    expect(mean([1, 2, 6])).toBe(3);
  });

  test("a limit that was not measured is not kept", () => {
    expect(limitOf("x", 1, 1).isKept).toBe(true);
    expect(limitOf("x", 1.01, 1).isKept).toBe(false);
    expect(limitOf("x", NaN, 1)).toMatchObject({ value: null, isKept: false });
  });

  test("are written in few digits", () => {
    expect([0, 0.123, 9.994, 9.996, 31.44, 99.96, 31415.9].map(formatNumber)).toEqual([
      "0",
      "0.12",
      "9.99",
      "10.0",
      "31.4",
      "100",
      "31,416",
    ]);
    expect(formatFigures([90, 100, 110])).toBe("100 ±8%");
    expect([formatFigures([]), formatFigures(undefined)]).toEqual(["-", "-"]);
    expect(formatNote("aa bb cc", 5)).toBe("  aa bb\n  cc");
  });
});

describe("rounds", () => {
  test("begin with another contestant each time", async () => {
    expect([0, 1, 2, 3].map((round) => orderOfRound(["a", "b", "c"], round).join(""))).toEqual([
      "abc",
      "bca",
      "cab",
      "abc",
    ]);
    const calls: string[] = [];
    const contestant = (name: string) => ({ name, measure: () => calls.push(name) });
    const rounds = await runRounds([contestant("a"), contestant("b")], 2, () => {});
    expect(calls.join("")).toBe("abba");
    expect(rounds).toEqual({ a: [1, 4], b: [2, 3] });
  });
});

describe("the options", () => {
  const parse = (...argv: string[]) => parseBenchOptions(argv, ["speed", "packing"]);

  test("have defaults", () => {
    expect(parse()).toEqual({
      only: [],
      roundCount: undefined,
      tracesFolder: undefined,
      jsonPath: "build/bench.json",
      isStrict: false,
      isQuick: false,
    });
    expect(parse("--only", "packing", "--rounds", "7").roundCount).toBe(7);
  });

  test("are refused where they make no sense", () => {
    for (const argv of [["--only", "x"], ["--rounds", "0"], ["--rounds", "1.5"], ["x"]]) {
      expect(() => parse(...argv)).toThrow("usage: bun bench/main.ts");
    }
  });
});

interface NaiveBlock {
  start: number;
  size: number;
  owner: number;
}

/** What is free, from the lowest: found anew each time, so that nothing can be wrong about it. */
function gapsBetween(live: readonly NaiveBlock[], capacity: number) {
  const gaps: { start: number; size: number }[] = [];
  let start = 0;
  for (const block of live.toSorted((a, b) => a.start - b.start)) {
    if (block.start > start) gaps.push({ start, size: block.start - start });
    start = block.start + block.size;
  }
  if (capacity > start) gaps.push({ start, size: capacity - start });
  return gaps;
}

/** Whether best fit, or first fit, serves all events in so many granules. */
function naiveServes({ events, byteSizes }: AllocationEvents, capacity: number, isBest: boolean) {
  let live: NaiveBlock[] = [];
  for (const event of events) {
    if (event < 0) {
      live = live.filter(({ owner }) => owner !== ~event);
      continue;
    }
    const size = Math.ceil(byteSizes[event]! / 512);
    const fitting = gapsBetween(live, capacity).filter((gap) => gap.size >= size);
    // Sorting is stable: the lowest of equals comes first.
    const gap = isBest ? fitting.toSorted((a, b) => a.size - b.size)[0] : fitting[0];
    if (gap === undefined) return false;
    live.push({ start: gap.start, size, owner: event });
  }
  return true;
}

function randomEvents(seed: number): AllocationEvents {
  const random = randomNumbers(seed);
  const builder = new AllocationEventsBuilder();
  const live: number[] = [];
  for (let i = 0; i < 150; i++) {
    if (random() < live.length / 24) {
      const [freed] = live.splice(Math.floor(random() * live.length), 1);
      builder.free(freed!);
    } else {
      live.push(builder.allocate(1 + Math.floor(512 * 40 ** random())));
    }
  }
  return builder.build();
}

describe("packing", () => {
  test("simulates best fit and first fit exactly", () => {
    let servedCount = 0;
    let checkedCount = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const events = randomEvents(seed);
      for (let capacity = 100; capacity < 320; capacity += 7) {
        const best = naiveServes(events, capacity, true);
        expect(simulationServes("bestFit", events)(capacity * 512)).toBe(best);
        const first = naiveServes(events, capacity, false);
        expect(simulationServes("firstFit", events)(capacity * 512)).toBe(first);
        servedCount += Number(best) + Number(first);
        checkedCount += 2;
      }
    }
    // Both answers were given often enough to mean something.
    expect(servedCount / checkedCount).toBeWithin(0.2, 0.8);
  });

  test("serves from two ends what fills the pool to the last granule", () => {
    const builder = new AllocationEventsBuilder();
    const small = builder.allocate(512);
    const large = builder.allocate(512 * 63);
    builder.free(small);
    builder.free(large);
    builder.allocate(512 * 64);
    expect(simulationServes("twoEnds", builder.build())(512 * 64)).toBe(true);
    expect(simulationServes("twoEnds", builder.build())(512 * 63)).toBe(false);
  });

  test("scales only the logs of small memories", async () => {
    const folder = join(tmpdir(), `bench-logs-${process.pid}`);
    const log = (byteSize: number) =>
      `Thread,Time,Action,Pointer,Size,Stream\n1,0,allocate,0x1,${byteSize},0\n`;
    await Bun.write(join(folder, "small.csv"), log(8 * 1024 ** 2 - 1));
    await Bun.write(join(folder, "large.csv.gz"), Bun.gzipSync(log(8 * 1024 ** 2)));
    await Bun.write(join(folder, "notes.txt"), "not a log");
    const logs = await readLogs(folder);
    expect(logs.map(({ name, scale, events }) => [name, scale, events.byteSizes[0]])).toEqual([
      ["large", 1, 8 * 1024 ** 2],
      ["small", 512, (8 * 1024 ** 2 - 1) * 512],
    ]);
    await expect(readLogs("/absent")).rejects.toThrow("/absent: cannot be read");
  });
});

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * What a load finds wrong with a service that keeps tensors in JS memory, and answers differently
 * where `spoil` says so.
 */
async function outcomeOfLoad(spoil: (method: string, stored: Bytes) => Response | undefined) {
  const tensors = new Map<string, Bytes>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch({ method, url, body }) {
      const stored = tensors.get(url);
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      if (method === "PUT") tensors.set(url, bytes);
      if (method === "DELETE") tensors.delete(url);
      const spoilt = spoil(method, (stored ?? bytes).slice());
      if (spoilt !== undefined) return spoilt;
      if (method === "GET") return new Response(stored);
      if (method === "DELETE") return new Response(null, { status: 204 });
      return Response.json({ byteSize: bytes.byteLength }, { status: stored ? 200 : 201 });
    },
  });
  const load = new Load(server.url.href, 3);
  await load.run(20);
  await load.deleteAll();
  await server.stop(true);
  const { sentCount, answered, failures, wrongByteCount } = load.outcome;
  expect(sentCount).toBe(answered.length + failures.length);
  const reasons = new Set(failures.map((failure) => failure.replace(/ .*Error: /, ": ")));
  const methods = new Set<string>(answered.map(({ method }) => method));
  return { reasons: [...reasons], wrongByteCount, answered: [...methods].sort() };
}

describe("the load on the service", () => {
  test("finds nothing wrong where all is well", async () => {
    const answered = ["DELETE", "GET", "PUT"];
    expect(await outcomeOfLoad(() => undefined)).toEqual({
      reasons: [],
      wrongByteCount: 0,
      answered,
    });
  });

  test.each<[string, (bytes: Bytes) => Bytes]>([
    ["changed", (bytes) => bytes.fill(bytes.at(-1)! ^ 1, -1)],
    ["is missing", (bytes) => bytes.subarray(0, -1)],
    ["is too many", (bytes) => new Uint8Array([...bytes, 0])],
  ])("notices a byte that %s", async (_what, change) => {
    let getCount = 0;
    const outcome = await outcomeOfLoad((method, stored) => {
      if (method !== "GET") return undefined;
      getCount++;
      return new Response(change(stored));
    });
    expect(getCount).toBeGreaterThan(0);
    expect(outcome).toEqual({
      reasons: ["GET: 1 bytes are wrong"],
      wrongByteCount: getCount,
      answered: ["DELETE", "PUT"],
    });
  });

  test("notices an answer of another status", async () => {
    const outcome = await outcomeOfLoad((method) =>
      method === "PUT" ? new Response("full", { status: 507 }) : undefined,
    );
    expect(outcome).toEqual({
      reasons: ["PUT: status 507: full"],
      wrongByteCount: 0,
      answered: [],
    });
  });
});

describe("the benchmark", () => {
  test("runs, prints tables and writes every round", async () => {
    const path = join(tmpdir(), `bench-${process.pid}.json`);
    const { exitCode, stdout, stderr } = bench("--quick", "--rounds", "2", "--json", path);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const report = (await Bun.file(path).json()) as BenchReport;
    await Bun.file(path).delete();

    expect(report.formatVersion).toBe(1);
    expect(report.isQuick).toBe(true);
    expect(report.leftOut).toEqual({});
    expect(report.machine.bun).toBe(Bun.version);
    expect(Object.keys(report.sections)).toEqual([
      "speed",
      "workers",
      "latency",
      "bandwidth",
      "waiting",
      "views",
      "packing",
      "metadata",
      "service",
    ]);
    expect(report.limits.length).toBeGreaterThan(10);
    for (const { name, limit, value, isKept } of report.limits) {
      expect([typeof name, typeof limit, typeof isKept]).toEqual(["string", "number", "boolean"]);
      expect(value === null || Number.isFinite(value)).toBe(true);
      expect(stdout).toContain(name);
    }
    const speed = report.sections["speed"] as { unit: string; rounds: Record<string, number[]> };
    expect(speed.unit).toBe("ns per pair");
    for (const row of ["one 4 KiB block", "1,000 live", "10,000 live"]) {
      for (const contestant of ["pool", "locked", "empty"]) {
        const rounds = speed.rounds[`${row} / ${contestant}`]!;
        expect(rounds).toHaveLength(2);
        for (const nanoseconds of rounds) expect(nanoseconds).toBeGreaterThan(0);
      }
    }
    const counts = report.limits.filter(({ limit }) => limit === 0);
    expect(counts.map(({ name, value }) => [name, value])).toEqual([
      ["requests to the system heap in steady state", 0],
      ["requests not answered, or wrongly", 0],
      ["bytes that came back wrong", 0],
      ["tensors left, all deleted", 0],
      ["blocks left in the pools, all deleted", 0],
    ]);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  }, 60_000);

  test("refuses what it does not know, in a few lines", () => {
    const { exitCode, stdout, stderr } = bench("--only", "nothing");
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toContain('there is no section "nothing"\nusage: bun bench/main.ts');
  });

  test("fails for logs that are not there", () => {
    const { exitCode, stderr } = bench("--quick", "--only", "packing", "--traces", "/absent");
    expect(exitCode).toBe(2);
    expect(stderr).toStartWith("bench failed: /absent: cannot be read");
  });
});
