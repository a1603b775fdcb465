import {
  AllocatedMemory,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
} from "bun-cuda-memory";
import { CudartSimulator } from "bun-cuda-memory/simulator";
import { isSimulated } from "../../harness/cuda-runtime.ts";
import { limitOf } from "../../harness/run/findings.ts";
import { formatNote, formatNumber } from "../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../harness/text/table.ts";
import { median, percentile } from "../../harness/timing/statistics.ts";
import type { BenchContext, BenchStep } from "../context.ts";

// What it costs to wait for a GPU without blocking the event loop: how much longer a short copy
// takes than with a blocking wait, how much processor time an idle wait takes, and how late timers
// are while a long copy is under way.

const mebibyte = 1024 ** 2;
const smallByteSize = 4096;

/** The length of the wait that must cost next to nothing. */
const idleMilliseconds = 1000;

/**
 * Bytes of a copy that takes a millisecond or more: a GPU queues only about a thousand operations.
 */
const longCopyByteSize = 2048 * mebibyte;

interface Sample {
  shortCopies: { blocking: number[]; awaited: number[] };
  idle: { waitedMilliseconds: number; blockedMilliseconds: number; cpuMilliseconds: number };
  /** What a request costs that waits for memory, of which there is none. */
  request: { passed: number; cpu: number };
  timers: { quiet: number[]; writing: number[]; reading: number[]; blocking: number[] };
}

/** Returns the microseconds that each call of the action took. */
async function timeEach(count: number, action: () => void | Promise<void>): Promise<number[]> {
  const microseconds: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = Bun.nanoseconds();
    const done = action();
    if (done !== undefined) await done;
    microseconds.push((Bun.nanoseconds() - start) / 1000);
  }
  return microseconds;
}

async function measureShortCopies(count: number): Promise<Sample["shortCopies"]> {
  using memory = new AllocatedMemory(smallByteSize, "GPU");
  const bytes = new Uint8Array(smallByteSize);
  await timeEach(count, () => memory.writeAsync(bytes)); // until it is compiled
  const blocking: number[] = [];
  const awaited: number[] = [];
  for (let round = 0; round < 10; round++) {
    blocking.push(...(await timeEach(count / 10, () => memory.write(bytes))));
    awaited.push(...(await timeEach(count / 10, () => memory.writeAsync(bytes))));
  }
  return { blocking, awaited };
}

/** Returns a function that queues the same work on a stream, which takes about this long. */
function workOf(
  milliseconds: number,
  stream: CudaStream,
  target: AllocatedMemory,
  source: AllocatedMemory,
): () => void {
  if (isSimulated()) {
    return () => {
      CudartSimulator.setDelay({ operationNs: milliseconds * 1e6 });
      copyBuffer(target, source, { stream, byteSize: 512 });
      CudartSimulator.setDelay({});
    };
  }
  const queue = (count: number) => {
    for (let i = 0; i < count; i++) copyBuffer(target, source, { stream });
  };
  const trialCount = 20;
  const start = performance.now();
  queue(trialCount);
  stream.synchronize();
  const count = Math.ceil((trialCount * milliseconds) / (performance.now() - start));
  return () => queue(count);
}

/**
 * Returns the milliseconds that pass, and those of processor time that all threads take together.
 */
async function costOf(action: () => unknown): Promise<{ passed: number; cpu: number }> {
  const before = process.cpuUsage();
  const start = performance.now();
  await action();
  const passed = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  return { passed, cpu: (user + system) / 1000 };
}

async function measureIdle(byteSize: number): Promise<Sample["idle"]> {
  using stream = new CudaStream(0);
  using target = new AllocatedMemory(byteSize, "GPU");
  using source = new AllocatedMemory(byteSize, "GPU");
  const queueWork = workOf(idleMilliseconds, stream, target, source);

  queueWork();
  const blocked = await costOf(() => stream.synchronize());
  queueWork();
  const waited = await costOf(() => stream.finished());
  // The driver and a timer take processor time too while nobody waits for the GPU.
  queueWork();
  const slept = await costOf(() => Bun.sleep(Math.round(waited.passed)));
  stream.synchronize();
  return {
    blockedMilliseconds: blocked.passed,
    waitedMilliseconds: waited.passed,
    cpuMilliseconds: waited.cpu - slept.cpu,
  };
}

/** Waits for a full pool, in vain. */
async function measureRequest(milliseconds: number): Promise<Sample["request"]> {
  const { freeByteSize } = CudaMemoryManager.stats(0);
  using _ = new AllocatedMemory(freeByteSize, "GPU");
  const waited = await costOf(async () => {
    const signal = AbortSignal.timeout(milliseconds);
    await AllocatedMemory.allocate(smallByteSize, "GPU", 0, { signal }).catch(() => {});
  });
  const slept = await costOf(() => Bun.sleep(milliseconds));
  return { passed: waited.passed, cpu: waited.cpu - slept.cpu };
}

/** Returns how many milliseconds too late each of many timers of one millisecond comes. */
async function timerDelaysDuring(work: () => Promise<unknown>): Promise<number[]> {
  const delays: number[] = [];
  let isOver = false;
  const ended = work().finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const start = performance.now();
    await Bun.sleep(1);
    delays.push(performance.now() - start - 1);
  }
  await ended;
  return delays;
}

async function measureTimers(byteSize: number, count: number): Promise<Sample["timers"]> {
  using memory = new AllocatedMemory(byteSize, "GPU");
  const bytes = new Uint8Array(byteSize).fill(1);
  const repeat = async (action: () => unknown) => {
    for (let i = 0; i < count; i++) await action();
  };
  return {
    quiet: await timerDelaysDuring(() => Bun.sleep(100)),
    writing: await timerDelaysDuring(() => repeat(() => memory.writeAsync(bytes))),
    reading: await timerDelaysDuring(() => repeat(() => memory.readAsync(bytes))),
    blocking: await timerDelaysDuring(() =>
      repeat(async () => {
        memory.write(bytes);
        await Bun.sleep(0);
      }),
    ),
  };
}

async function measure({ options: { isQuick }, progress }: BenchContext): Promise<Sample> {
  const byteSize = (isQuick || isSimulated() ? 64 : 512) * mebibyte;
  const idleByteSize = isSimulated() ? mebibyte : longCopyByteSize;
  using _managers = createMemoryManagers({
    cudaMemoryPoolByteSize: { 0: Math.max(byteSize, 2 * idleByteSize) },
    pinnedMemoryPoolByteSize: 64 * mebibyte,
  });
  CudaMemoryManager.stats(0); // throws where there is no GPU
  progress.show("waiting: for short copies");
  const shortCopies = await measureShortCopies(isQuick ? 100 : 5000);
  progress.show("waiting: idle");
  const idle = await measureIdle(idleByteSize);
  progress.show("waiting: for memory");
  const request = await measureRequest(isQuick ? 200 : 2000);
  progress.show("waiting: while timers run");
  const timers = await measureTimers(byteSize, isQuick ? 1 : 8);
  return { shortCopies, idle, request, timers };
}

const columns: readonly Column[] = [
  { title: "", width: 44, align: "left" },
  ...["p50", "p99", "max"].map((title): Column => ({ title, width: 10, align: "right" })),
];

function row(title: string, values: readonly number[]): string {
  const cells = [median(values), percentile(values, 0.99), Math.max(...values)];
  return tableLine(columns, [title, ...cells.map(formatNumber)]);
}

function text({ shortCopies, idle, request, timers }: Sample): string {
  const lines = [
    tableHead(columns),
    row("4 KiB by write, us", shortCopies.blocking),
    row("4 KiB by writeAsync, us", shortCopies.awaited),
    row("a timer's delay in a quiet process, ms", timers.quiet),
    row("a timer's delay during writeAsync, ms", timers.writing),
    row("a timer's delay during readAsync, ms", timers.reading),
    row("a timer's delay during write, ms", timers.blocking),
  ];
  const note =
    `Work of ${formatNumber(idle.blockedMilliseconds)} ms was awaited for ` +
    `${formatNumber(idle.waitedMilliseconds)} ms, which took ${formatNumber(idle.cpuMilliseconds)} ` +
    "ms more of processor time than a timer. A request waited " +
    `${formatNumber(request.passed)} ms for memory, which took ${formatNumber(request.cpu)} ms more. ` +
    (isSimulated() ? "The GPU is simulated, and its threads are part of all of this." : "");
  return `${lines.join("\n")}\n\n${formatNote(note)}`;
}

export const waiting: BenchStep = {
  name: "waiting",
  title: "Waiting for a GPU",
  async run(context) {
    const sample = await measure(context);
    const { shortCopies, idle, request, timers } = sample;
    const late = idle.waitedMilliseconds / idle.blockedMilliseconds;
    context.print(text(sample));
    context.add(
      limitOf("4 KiB by writeAsync, p50", median(shortCopies.awaited), 500, "us"),
      limitOf(
        "processor time of an idle wait, of 1",
        idle.cpuMilliseconds / idle.waitedMilliseconds,
        0.1,
      ),
      limitOf("an awaited wait / a blocking one", late, 1.15),
      limitOf("processor time of a waiting request, of 1", request.cpu / request.passed, 0.03),
      limitOf("a timer's delay during writeAsync, p99", percentile(timers.writing, 0.99), 5, "ms"),
      limitOf("a timer's delay during readAsync, p99", percentile(timers.reading, 0.99), 5, "ms"),
    );
    return { isSimulated: isSimulated(), ...sample };
  },
};
