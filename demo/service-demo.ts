import { createMemoryManagers, type MemoryType, type PoolStats } from "bun-cuda-memory";
import {
  type ServiceStats,
  startTensorService,
} from "../examples/tensor-service/tensor-service.ts";
import { formatByteSize, formatCount } from "../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";
import { DemoFailure } from "./demo-failure.ts";
import type { Notes } from "./notes.ts";
import { findSampleFiles, type SampleFile } from "./sample-files.ts";
import { sha256OfFile, TensorClient } from "./tensor-client.ts";

// Real files stream to the service over HTTP until every kind of memory has some of them, and come
// back unchanged; neither side ever has one in JS memory as a whole.

/**
 * The pinned pool is small, so that a few files overflow it. The CUDA pool has its default size.
 */
const pinnedMemoryPoolByteSize = 32 * 1024 ** 2;
const uploadByteSizeMax = 600e6;
const allMemoryTypes: readonly MemoryType[] = ["GPU", "CPU_PINNED", "CPU"];

interface Upload {
  file: SampleFile;
  name: string;
  memoryType: MemoryType;
  seconds: number;
}

/** Makes a name that the service accepts. */
function tensorName(file: SampleFile, round: number): string {
  const name = file.name.replace(/[^\w.-]/g, "_").slice(0, 100);
  return round === 1 ? name : `${name}-${round}`;
}

/** Lists the kinds of memory that there are: only plain memory where there is no GPU. */
function availableMemoryTypes({ cuda, pinned }: ServiceStats): MemoryType[] {
  const hasPool = {
    GPU: Object.keys(cuda).length > 0,
    CPU_PINNED: (pinned?.capacityByteSize ?? 0) > 0,
    CPU: true,
  };
  return allMemoryTypes.filter((memoryType) => hasPool[memoryType]);
}

/** Uploads every file once, then again under other names until each kind of memory was used. */
async function uploadAll(client: TensorClient, files: readonly SampleFile[]): Promise<Upload[]> {
  const wanted = availableMemoryTypes(await client.stats());
  const uploads: Upload[] = [];
  const used = new Set<MemoryType>();
  let totalByteSize = 0;
  for (let round = 1; ; round++) {
    for (const file of files) {
      if (round > 1 && wanted.every((memoryType) => used.has(memoryType))) return uploads;
      totalByteSize += file.byteSize;
      if (totalByteSize > uploadByteSizeMax) return uploads;
      const name = tensorName(file, round);
      const { memoryType, seconds } = await client.upload(name, file.path);
      uploads.push({ file, name, memoryType, seconds });
      used.add(memoryType);
    }
  }
}

const columns: readonly Column[] = [
  { title: "file", width: 30, align: "left" },
  { title: "size", width: 10, align: "right" },
  { title: "landed in", width: 10, align: "left" },
  { title: "SHA-256", width: 9, align: "left" },
  { title: "upload", width: 10, align: "right" },
  { title: "download", width: 10, align: "right" },
];

function formatSpeed(byteSize: number, seconds: number): string {
  return `${(byteSize / 1e6 / seconds).toFixed(0)} MB/s`;
}

/** Downloads each upload and prints its line. Returns the names of those that came back changed. */
async function downloadAll(client: TensorClient, uploads: readonly Upload[]): Promise<string[]> {
  const changed: string[] = [];
  console.log(tableHead(columns));
  for (const { file, name, memoryType, seconds } of uploads) {
    const sent = await sha256OfFile(file.path);
    const received = await client.download(name);
    const isSame = received.sha256 === sent && received.byteSize === file.byteSize;
    if (!isSame) changed.push(name);
    const size = formatByteSize(file.byteSize);
    const up = formatSpeed(file.byteSize, seconds);
    const down = formatSpeed(file.byteSize, received.seconds);
    const verdict = isSame ? "same" : "DIFFERENT";
    console.log(tableLine(columns, [name, size, memoryType, verdict, up, down]));
  }
  return changed;
}

/** Lists the pools that exist, with a name for each. */
function namedPools({ cuda, pinned }: ServiceStats): [name: string, stats: PoolStats][] {
  const pools = Object.entries(cuda).map(([gpu, stats]): [string, PoolStats] => [
    `CUDA pool of GPU ${gpu}`,
    stats,
  ]);
  return pinned === null ? pools : [...pools, ["pinned pool", pinned]];
}

function printTotals(stats: ServiceStats): void {
  const { tensors } = stats;
  const totals = allMemoryTypes.map((memoryType) => {
    const { count, byteSize } = tensors.byMemoryType[memoryType];
    return `${memoryType} ${count} (${formatByteSize(byteSize)})`;
  });
  console.log(`\n  ${formatCount(tensors.count, "tensor")}: ${totals.join(", ")}`);
  for (const [name, { usedByteSize, capacityByteSize }] of namedPools(stats)) {
    const use = `${formatByteSize(usedByteSize)} of ${formatByteSize(capacityByteSize)} in use`;
    console.log(`  ${name}: ${use}`);
  }
}

/** Whether a tensor is left, or a byte is in use in any pool. */
function isAnythingLeft(stats: ServiceStats): boolean {
  const isPoolUsed = namedPools(stats).some(([, { usedByteSize }]) => usedByteSize > 0);
  return isPoolUsed || stats.tensors.count > 0;
}

async function exercise(client: TensorClient, notes: Notes): Promise<void> {
  const files = findSampleFiles();
  const uploads = await uploadAll(client, files);
  notes.print();
  console.log();
  const changed = await downloadAll(client, uploads);
  printTotals(await client.stats());
  for (const { name } of uploads) await client.delete(name);
  const stats = await client.stats();
  if (changed.length > 0) throw new DemoFailure(`bytes came back changed: ${changed.join(", ")}`);
  if (isAnythingLeft(stats)) {
    throw new DemoFailure(`memory is left over after all was deleted: ${JSON.stringify(stats)}`);
  }
  console.log("  all deleted: 0 bytes in use in every pool");
}

/** @throws {DemoFailure} where a byte differs, or memory is left over. */
export async function demonstrateService(notes: Notes): Promise<void> {
  using _managers = createMemoryManagers({ pinnedMemoryPoolByteSize });
  await using service = startTensorService();
  console.log(`\nTensors streamed over HTTP, at ${service.url}tensors/NAME`);
  await exercise(new TensorClient(service.url), notes);
}
