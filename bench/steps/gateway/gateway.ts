import { fileURLToPath } from "node:url";
import { AskedChild } from "../../../harness/child/asked-child.ts";
import { limitOf } from "../../../harness/run/findings.ts";
import { formatNote } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import { median, percentile } from "../../../harness/timing/statistics.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import type { GatewayAnswer, GatewayRequest, GatewayState } from "./gateway-process.ts";
import type { GreedyAnswer, GreedyRequest } from "./greedy-process.ts";
import { closedLoop, openLoop, type Outcome, Requests } from "./requests.ts";
import { tenants } from "./tenants.ts";

// The example gateway in a process of its own, and two tenants: what a modest one waits for while
// a greedy one sends all it can, beside what it waits for alone; and that nothing is lost.

/** The modest tenant's p99 beside the greedy one: twice that of before, or this if it is more. */
const p99MillisecondsMin = 5;
const p99FactorMax = 2;

const answerSecondsMax = 90;
const closedLoopConnectionCount = 16;
const sizes = { byteSizeMin: 4 * 1024, byteSizeMax: 4 * 1024 };

/** The simulator's copies take time, as on a GPU: 20 GB/s and 5 µs each, unless the user chose. */
const simulatedDelays = { CUDART_SIM_NS_PER_BYTE: "0.05", CUDART_SIM_OPERATION_NS: "5000" };

function child<Request, Answer extends { kind: string }>(name: string, file: string) {
  return new AskedChild<Request, Answer>(
    name,
    {
      argv: [
        ...(file.startsWith("greedy") ? ["nice", "-n", "19"] : []),
        process.execPath,
        fileURLToPath(new URL(file, import.meta.url)),
      ],
      environment: { ...simulatedDelays, ...process.env } as Record<string, string>,
    },
    answerSecondsMax,
  );
}

interface Phase {
  title: string;
  answeredPerSecond: number;
  p50Milliseconds: number;
  p99Milliseconds: number;
  delay: GatewayState["delay"];
}

interface Measured {
  phases: Phase[];
  computesWith: string;
  modest: Outcome;
  greedy: Extract<GreedyAnswer, { kind: "ended" }>["outcome"];
  accounts: GatewayState["accounts"];
}

async function measure({ options, progress }: BenchContext): Promise<Measured> {
  const { isQuick, roundCount = isQuick ? 2 : 9 } = options;
  const seconds = isQuick ? 0.25 : 1;
  using gateway = child<GatewayRequest, GatewayAnswer>("the gateway", "gateway-process.ts");
  const { url, computesWith } = await gateway.next("ready");
  const modest = new Requests(url, tenants.modest.key, sizes);
  const { latencies } = modest.outcome;
  const phases: Phase[] = [];
  /** Rounds, of which the first only warms up: one stall of the machine is not all rounds' p99. */
  const phase = async (title: string, runRound: () => Promise<void>): Promise<Phase> => {
    progress.show(`gateway: ${title}`);
    await runRound();
    await gateway.ask("state", "state"); // forgets what was before
    const rounds: number[][] = [];
    const start = performance.now();
    for (let round = 0; round < roundCount; round++) {
      const before = latencies.length;
      await runRound();
      rounds.push(latencies.slice(before));
    }
    const milliseconds = performance.now() - start;
    const { state } = await gateway.ask("state", "state");
    const figures = {
      title,
      answeredPerSecond: (rounds.flat().length / milliseconds) * 1000,
      p50Milliseconds: median(rounds.map((round) => percentile(round, 0.5))),
      p99Milliseconds: median(rounds.map((round) => percentile(round, 0.99))),
      delay: state.delay,
    };
    phases.push(figures);
    return figures;
  };
  const { answeredPerSecond } = await phase("all it can, alone", async () => {
    const end = performance.now() + seconds * 1000;
    await closedLoop(
      closedLoopConnectionCount,
      () => performance.now() > end,
      () => modest.sums(),
    );
  });
  const half = () => openLoop(answeredPerSecond / 2, seconds, (since) => modest.sums(since));
  await phase("half of that, alone", half);
  using greedy = child<GreedyRequest, GreedyAnswer>("the greedy tenant", "greedy-process.ts");
  await greedy.ask({ url }, "begun");
  await phase("half, beside the greedy", half);
  const { outcome } = await greedy.ask({}, "ended");
  const { state } = await gateway.ask("state", "state");
  return {
    phases,
    computesWith,
    modest: modest.outcome,
    greedy: outcome,
    accounts: state.accounts,
  };
}

const columns: readonly Column[] = [
  { title: "modest tenant", width: 24, align: "left" },
  { title: "per second", width: 10, align: "right" },
  { title: "p50 ms", width: 8, align: "right" },
  { title: "p99 ms", width: 8, align: "right" },
  { title: "event loop late, p50 / p99 ms", width: 30, align: "right" },
];

function phaseLine(phase: Phase): string {
  const { delay } = phase;
  return tableLine(columns, [
    phase.title,
    phase.answeredPerSecond.toFixed(0),
    phase.p50Milliseconds.toFixed(2),
    phase.p99Milliseconds.toFixed(2),
    `${delay.p50Milliseconds.toFixed(1)} / ${delay.p99Milliseconds.toFixed(1)}`,
  ]);
}

function failureLines(failures: readonly string[]): string {
  const shown = failures.slice(0, 5).map((failure) => `  ${failure.slice(0, 98)}`);
  return shown.length === 0 ? "" : `\n\n${shown.join("\n")}`;
}

function explanation({ computesWith, greedy }: Measured): string {
  return (
    "The modest tenant sends sums of two tensors of 4 KiB, in an open loop: each latency counts from " +
    "when its request was due, and of p99s of rounds the median is shown. The greedy one has 32 requests of log-uniform 4-256 KiB open at " +
    "any time, and an account of 1 MiB, for which they wait: " +
    `${greedy.answeredCount.toLocaleString("en")} of them were answered. Gateway and tenants ` +
    `share the machine. The gateway computes with ${computesWith.split(" (")[0]}.`
  );
}

export const gateway: BenchStep = {
  name: "gateway",
  title: "The gateway under load",
  async run(context) {
    const measured = await measure(context);
    const { phases, modest, greedy, accounts } = measured;
    const [, alone, beside] = phases;
    const failures = [...modest.failures, ...greedy.failures];
    context.print(
      `${[tableHead(columns), ...phases.map(phaseLine)].join("\n")}` +
        `${failureLines(failures)}\n\n${formatNote(explanation(measured))}`,
    );
    const sentCount = modest.sentCount + greedy.sentCount;
    const answeredCount =
      modest.latencies.length + greedy.answeredCount + modest.refusedCount + greedy.refusedCount;
    const used = accounts.reduce((sum, { usedByteSize }) => sum + usedByteSize, 0);
    const p99Max = Math.max(p99MillisecondsMin, p99FactorMax * alone!.p99Milliseconds);
    context.add(
      limitOf("requests not answered, or wrongly", sentCount - answeredCount, 0),
      limitOf("requests of the modest tenant refused", modest.refusedCount, 0),
      limitOf("bytes that came back wrong", modest.wrongByteCount + greedy.wrongByteCount, 0),
      limitOf("bytes left in the tenants' accounts", used, 0),
      limitOf("p99 of a tenant beside a greedy one", beside!.p99Milliseconds, p99Max, "ms"),
    );
    return { phases, sentCount, answeredCount, failures, accounts };
  },
};
