import { freemem } from "node:os";
import { fileURLToPath } from "node:url";
import { AskedChild } from "../../../harness/child/asked-child.ts";
import { limitOf } from "../../../harness/run/findings.ts";
import { formatNote } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import { orderOfRound } from "../../../harness/timing/rounds.ts";
import { median, ratios } from "../../../harness/timing/statistics.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import type { GatewayAnswer, GatewayRequest } from "../gateway/gateway-process.ts";
import { identityInputs, inferHead } from "../gateway/requests.ts";
import { tenants } from "../gateway/tenants.ts";
import { exchange } from "./exchange.ts";
import type { PlainAnswer } from "./plain-process.ts";

// Large bodies through the example gateway and back: how long one takes beside a server that does nothing
// but stream it through one buffer, and how much memory many of them take beside the pools.

const MiB = 1024 ** 2;
const timesFactorMax = 1.3;
const residentByteSizeMax = 8 * MiB;

function child<Request, Answer extends { kind: string }>(
  file: string,
  environment: Record<string, string> = {},
) {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return new AskedChild<Request, Answer>(file, { argv: [process.execPath, path], environment }, 90);
}

/** Sends bytes to the gateway's model that gives them back. */
function infer(url: string, bytes: Uint8Array): Promise<void> {
  const { json, headers } = inferHead(tenants.bulk.key, identityInputs(bytes));
  return exchange(new URL("v2/models/identity/infer", url), headers, [json, bytes]);
}

async function millisecondsOf(action: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

/** One body at a time, there and back, in milliseconds. */
async function timeBodies(
  { options, progress }: BenchContext,
  byteSize: number,
): Promise<{ gateway: number[]; plain: number[] }> {
  const { isQuick, roundCount = isQuick ? 2 : 15 } = options;
  using gateway = child<GatewayRequest, GatewayAnswer>("../gateway/gateway-process.ts");
  using plain = child<never, PlainAnswer>("plain-process.ts");
  const gatewayUrl = (await gateway.next("ready")).url;
  const plainUrl = new URL((await plain.next("ready")).url);
  const bytes = new Uint8Array(byteSize).fill(1);
  const times = { gateway: [] as number[], plain: [] as number[] };
  const ways = [
    { times: times.gateway, send: () => infer(gatewayUrl, bytes) },
    { times: times.plain, send: () => exchange(plainUrl, {}, [bytes]) },
  ];
  for (const { send } of ways) await send(); // only warms up
  for (let round = 0; round < roundCount; round++) {
    progress.showShare("bodies: round", round, roundCount);
    for (const way of orderOfRound(ways, round)) way.times.push(await millisecondsOf(way.send));
  }
  return times;
}

/** Many at a time: bytes for each of them at the peak, beside the pools and the idle gateway. */
async function residentByteSizeOf(count: number, byteSize: number): Promise<number> {
  using gateway = child<GatewayRequest, GatewayAnswer>("../gateway/gateway-process.ts", {
    GATEWAY_POOL_BYTE_SIZE: String(count * byteSize + 64 * MiB),
  });
  const { url } = await gateway.next("ready");
  const bytes = new Uint8Array(byteSize).fill(1);
  await infer(url, bytes.subarray(0, MiB));
  const { resident } = await gateway.ask("touch pools", "touched");
  await Promise.all(Array.from({ length: count }, () => infer(url, bytes)));
  const { state } = await gateway.ask("state", "state");
  return (state.peakResidentByteSize - resident) / count;
}

const columns: readonly Column[] = [
  { title: "one body, there and back", width: 26, align: "left" },
  { title: "ms", width: 8, align: "right" },
  { title: "fastest", width: 8, align: "right" },
];

const explanation =
  "Medians of the rounds, in which gateway and plain server take turns. The plain server is Bun.serve, " +
  "which streams the same bytes through one buffer. The gateway's tensors are in the memory of a GPU, or " +
  "of a simulated one.";

export const bodies: BenchStep = {
  name: "bodies",
  title: "Large bodies through the gateway",
  async run(context) {
    const { isQuick } = context.options;
    const byteSize = isQuick ? 4 * MiB : 64 * MiB;
    const times = await timeBodies(context, byteSize);
    const [count, largeByteSize] = isQuick ? [4, 8 * MiB] : [16, 256 * MiB];
    const hasRoom = freemem() > 1.5 * count * largeByteSize;
    context.progress.show("bodies: many at a time");
    const resident = hasRoom ? await residentByteSizeOf(count, largeByteSize) : null;
    const line = (title: string, values: readonly number[]) =>
      tableLine(columns, [title, median(values).toFixed(0), Math.min(...values).toFixed(0)]);
    const many =
      resident === null
        ? "Many bodies at a time are left out: the machine has no room for them."
        : `${count} bodies of ${largeByteSize / MiB} MiB at a time take ` +
          `${(resident / MiB).toFixed(1)} MiB each beside the pools.`;
    context.print(
      [
        tableHead(columns),
        line(`${byteSize / MiB} MiB, the gateway`, times.gateway),
        line(`${byteSize / MiB} MiB, a plain server`, times.plain),
        "",
        formatNote(many),
        "",
        formatNote(explanation),
      ].join("\n"),
    );
    const factor = median(ratios(times.gateway, times.plain));
    context.add(limitOf("a body through the gateway / through one buffer", factor, timesFactorMax));
    if (resident !== null) {
      const name = "MiB for each of many bodies, beside the pools";
      context.add(limitOf(name, resident / MiB, residentByteSizeMax / MiB));
    }
    return { times, residentByteSize: resident };
  },
};
