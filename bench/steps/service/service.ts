import type { ServiceStats } from "../../../examples/tensor-service/tensor-service.ts";
import { limitOf } from "../../../harness/run/findings.ts";
import { formatFigures, formatNote } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import { median, percentile } from "../../../harness/timing/statistics.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import { type Answered, Load, type Method, methods, type Outcome } from "./load.ts";
import { ServiceClient } from "./service-client.ts";
import type { EventLoopDelay } from "./service-process.ts";

// The tensor service in a process of its own, and clients that keep it busy: what it does in a
// second, how long it takes, how long it keeps others waiting, and that it loses nothing.

/**
 * Reading from all clients' connections takes some milliseconds. A thread that also waited for the
 * GPU would be more than 15 ms late most of the time. The rare long delays, in p99, depend on what
 * else the machine does.
 */
const eventLoopMillisecondsMax = { p50: 15, p99: 100 };
const warmUpRequestCountPerClient = 10;

/** The figures of one round's requests of one kind. */
interface RequestFigures {
  requestsPerSecond: number;
  bytesPerSecond: number;
  p50Milliseconds: number;
  p99Milliseconds: number;
}

interface Round {
  requests: Record<Method | "all", RequestFigures>;
  eventLoopDelay: EventLoopDelay;
}

function figuresOf(answered: readonly Answered[], seconds: number): RequestFigures {
  const latencies = answered.map(({ milliseconds }) => milliseconds);
  return {
    requestsPerSecond: answered.length / seconds,
    bytesPerSecond: answered.reduce((sum, { byteSize }) => sum + byteSize, 0) / seconds,
    p50Milliseconds: percentile(latencies, 0.5),
    p99Milliseconds: percentile(latencies, 0.99),
  };
}

async function measureRound(
  service: ServiceClient,
  load: Load,
  requestCountPerClient: number,
): Promise<Round> {
  await service.eventLoopDelay(); // forgets what was before
  const { answered } = load.outcome;
  const answeredCount = answered.length;
  const start = performance.now();
  await load.run(requestCountPerClient);
  const seconds = (performance.now() - start) / 1000;
  const ofRound = answered.slice(answeredCount);
  const of = (wanted: Method) => ofRound.filter(({ method }) => method === wanted);
  return {
    requests: {
      PUT: figuresOf(of("PUT"), seconds),
      GET: figuresOf(of("GET"), seconds),
      DELETE: figuresOf(of("DELETE"), seconds),
      all: figuresOf(ofRound, seconds),
    },
    eventLoopDelay: await service.eventLoopDelay(),
  };
}

async function statsOf(url: string): Promise<ServiceStats> {
  return (await (await fetch(`${url}stats`)).json()) as ServiceStats;
}

function blockCount({ cuda, pinned }: ServiceStats): number {
  const pools = [...Object.values(cuda), ...(pinned === null ? [] : [pinned])];
  return pools.reduce((sum, { allocationCount }) => sum + allocationCount, 0);
}

/** All rounds, and what became of all requests. */
interface Measured {
  rounds: Round[];
  outcome: Outcome;
  /** The service's statistics before the clients deleted their tensors, and afterwards. */
  fullStats: ServiceStats;
  emptyStats: ServiceStats;
}

async function measure(
  clientCount: number,
  { options: { roundCount = 7, isQuick }, progress }: BenchContext,
): Promise<Measured> {
  using service = new ServiceClient();
  const url = await service.url();
  const load = new Load(url, clientCount);
  progress.show("service: warming up");
  await load.run(warmUpRequestCountPerClient);
  const rounds: Round[] = [];
  for (let round = 0; round < roundCount; round++) {
    progress.showShare("service: round", round, roundCount);
    rounds.push(await measureRound(service, load, isQuick ? 5 : 50));
  }
  const fullStats = await statsOf(url);
  await load.deleteAll();
  return { rounds, outcome: load.outcome, fullStats, emptyStats: await statsOf(url) };
}

const columns: readonly Column[] = [
  { title: "request", width: 8, align: "left" },
  { title: "per second", width: 14, align: "right" },
  { title: "MB/s", width: 14, align: "right" },
  { title: "p50 ms", width: 14, align: "right" },
  { title: "p99 ms", width: 14, align: "right" },
];

function table(rounds: readonly Round[]): string {
  const lines = [...methods, "all" as const].map((method) => {
    const figures = rounds.map(({ requests }) => requests[method]);
    const cells = [
      figures.map(({ requestsPerSecond }) => requestsPerSecond),
      figures.map(({ bytesPerSecond }) => bytesPerSecond / 1e6),
      figures.map(({ p50Milliseconds }) => p50Milliseconds),
      figures.map(({ p99Milliseconds }) => p99Milliseconds),
    ];
    // A figure of 0 is left out, since a DELETE, for one, moves no bytes.
    const happened = cells.map((values) => values.filter((value) => value > 0));
    return tableLine(columns, [method, ...happened.map(formatFigures)]);
  });
  return [tableHead(columns), ...lines].join("\n");
}

function eventLoopLine(rounds: readonly Round[]): string {
  const delays = rounds.map(({ eventLoopDelay }) => eventLoopDelay);
  const p50 = formatFigures(delays.map(({ p50Milliseconds }) => p50Milliseconds));
  const p99 = formatFigures(delays.map(({ p99Milliseconds }) => p99Milliseconds));
  const max = formatFigures(delays.map(({ maxMilliseconds }) => maxMilliseconds));
  return formatNote(
    `event loop of the service, ms late: p50 ${p50}, p99 ${p99}, longest of a round ${max}`,
  );
}

function failureLines({ failures }: Outcome): string {
  const shown = failures.slice(0, 5).map((failure) => `  ${failure.slice(0, 98)}`);
  return shown.length === 0 ? "" : `\n\n${shown.join("\n")}`;
}

function explanation(clientCount: number, { outcome, fullStats }: Measured): string {
  const { GPU, CPU_PINNED, CPU } = fullStats.tensors.byMemoryType;
  const sentCount = outcome.sentCount.toLocaleString("en");
  return (
    `${clientCount} clients, one request of each at a time: about nine in twenty store a tensor ` +
    "of log-uniform 4 KiB-4 MiB, nine fetch one and compare every byte, two delete one. Clients " +
    `and service share the machine. ${sentCount} requests in all; at the end ${GPU.count} tensors ` +
    `were in the CUDA pool, ${CPU_PINNED.count} in the pinned pool and ${CPU.count} in neither, ` +
    "before they were deleted."
  );
}

export const service: BenchStep = {
  name: "service",
  title: "The tensor service under load",
  async run(context) {
    const clientCount = context.options.isQuick ? 8 : 32;
    const measured = await measure(clientCount, context);
    const { rounds, outcome, emptyStats } = measured;
    const delays = rounds.map(({ eventLoopDelay }) => eventLoopDelay);
    const p50 = median(delays.map(({ p50Milliseconds }) => p50Milliseconds));
    const p99 = median(delays.map(({ p99Milliseconds }) => p99Milliseconds));
    const text = `${table(rounds)}\n\n${eventLoopLine(rounds)}`;
    context.print(
      `${text}${failureLines(outcome)}\n\n${formatNote(explanation(clientCount, measured))}`,
    );
    context.add(
      limitOf("requests not answered, or wrongly", outcome.sentCount - outcome.answered.length, 0),
      limitOf("bytes that came back wrong", outcome.wrongByteCount, 0),
      limitOf("tensors left, all deleted", emptyStats.tensors.count, 0),
      limitOf("blocks left in the pools, all deleted", blockCount(emptyStats), 0),
      limitOf("event loop of the service late, p50", p50, eventLoopMillisecondsMax.p50, "ms"),
      limitOf("event loop of the service late, p99", p99, eventLoopMillisecondsMax.p99, "ms"),
    );
    return {
      rounds,
      sentCount: outcome.sentCount,
      answeredCount: outcome.answered.length,
      failures: outcome.failures,
      wrongByteCount: outcome.wrongByteCount,
      tensors: measured.fullStats.tensors,
    };
  },
};
