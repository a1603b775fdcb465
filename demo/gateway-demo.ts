import { createMemoryManagers, getSupportedGpus, MemoryAccount } from "bun-cuda-memory";
import { chooseEngine } from "../examples/gateway/engine/choose-engine.ts";
import { Gateway } from "../examples/gateway/gateway.ts";
import { LocalScheduler } from "../examples/gateway/local-scheduler.ts";
import { formatByteSize, formatCount } from "../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";
import { DemoFailure } from "./demo-failure.ts";
import { GatewayClient, sha256OfFile } from "./gateway-client.ts";
import type { Notes } from "./notes.ts";
import { findSampleFiles, type SampleFile } from "./sample-files.ts";

// Real files go through a model of the gateway and come back unchanged, by two tenants, of which
// one may have little memory. Then both send many small requests at once.

const MiB = 1024 ** 2;
const tenants = [
  { name: "alpha", key: "the-key-of-alpha", limitByteSize: 224 * MiB },
  { name: "beta", key: "the-key-of-beta!", limitByteSize: 16 * MiB },
] as const;
type Tenant = (typeof tenants)[number];

const poolByteSize = 256 * MiB;
const smallRequestCount = 2000;
const smallRequestsAtOnce = 32;

const columns: readonly Column[] = [
  { title: "file", width: 30, align: "left" },
  { title: "size", width: 10, align: "right" },
  { title: "tenant", width: 8, align: "left" },
  { title: "answer", width: 22, align: "left" },
  { title: "there and back", width: 15, align: "right" },
];

/** Sends a file and prints its line. */
async function sendFile(client: GatewayClient, tenant: Tenant, file: SampleFile): Promise<void> {
  const { byteSize } = file;
  const { status, error, seconds, ...received } = await client.identity(file.path);
  const cells = [file.name.slice(0, 29), formatByteSize(byteSize), tenant.name];
  if (status === 413 && byteSize > tenant.limitByteSize) {
    console.log(tableLine(columns, [...cells, "413, over its limit", ""]));
    return;
  }
  if (status !== 200) throw new DemoFailure(`POST identity: ${status} ${error}`);
  const isSame =
    received.sha256 === (await sha256OfFile(file.path)) && received.byteSize === byteSize;
  const speed = `${(byteSize / 1e6 / seconds).toFixed(0)} MB/s`;
  const answer = isSame ? "200, the same bytes" : "DIFFERENT";
  console.log(tableLine(columns, [...cells, answer, speed]));
  if (!isSame) throw new DemoFailure(`the bytes of ${file.name} came back changed`);
}

/** Sends many small requests, some of each tenant at once. */
async function sendSmallRequests(clients: readonly GatewayClient[]): Promise<void> {
  const start = performance.now();
  let sentCount = 0;
  const sendSome = async (client: GatewayClient) => {
    while (sentCount < smallRequestCount) {
      const number = sentCount++;
      const sums = await client.sums([number, 1, 2, 3], [10, 20, 30, 40]);
      if (String(sums) !== String([number + 10, 21, 32, 43])) {
        throw new DemoFailure(`the sums of request ${number} are ${sums}`);
      }
    }
  };
  const senders = Array.from({ length: smallRequestsAtOnce }, (_, index) =>
    sendSome(clients[index % clients.length]!),
  );
  await Promise.all(senders);
  const perSecond = (smallRequestCount / (performance.now() - start)) * 1000;
  console.log(
    `\n  ${formatCount(smallRequestCount, "small request")} of two tenants, ` +
      `${smallRequestsAtOnce} at once: ${Math.round(perSecond).toLocaleString("en")} per second`,
  );
}

function printAccounts(): void {
  const used = tenants.map(({ name, limitByteSize }) => {
    const { usedByteSize, peakUsedByteSize } = MemoryAccount.of(name).stats();
    if (usedByteSize > 0) throw new DemoFailure(`${name} still has ${usedByteSize} bytes`);
    return `${name} had ${formatByteSize(peakUsedByteSize)} of ${formatByteSize(limitByteSize)}`;
  });
  console.log(`  at most ${used.join(", ")}\n  all accounts: 0 bytes in use`);
}

/** @throws {DemoFailure} where a byte differs, or memory is left over. */
export async function demonstrateGateway(notes: Notes): Promise<void> {
  const [deviceId] = getSupportedGpus();
  using _managers = createMemoryManagers({
    cudaMemoryPoolByteSize: deviceId === undefined ? {} : { [deviceId]: poolByteSize },
  });
  await using engine = chooseEngine();
  await using scheduler = new LocalScheduler(engine);
  await using gateway = new Gateway(scheduler, { tenants });
  console.log(`\nThe gateway, at ${gateway.url}v2`);
  notes.print();
  console.log();
  console.log(tableHead(columns));
  const clients = tenants.map(({ key }) => new GatewayClient(gateway.url, key));
  for (const file of findSampleFiles()) {
    for (const [index, tenant] of tenants.entries()) await sendFile(clients[index]!, tenant, file);
  }
  await sendSmallRequests(clients);
  printAccounts();
  notes.print();
}
