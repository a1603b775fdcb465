import { createMemoryManagers, parseMemoryOptions } from "bun-cuda-memory";
import { chooseEngine } from "./engine/choose-engine.ts";
import { Gateway } from "./gateway.ts";
import { LocalScheduler } from "./local-scheduler.ts";
import { parseProgramOptions } from "./options.ts";
import { GatewayWorkers } from "./workers/gateway-workers.ts";

// A gateway that speaks KServe's v2 protocol, over HTTP with binary tensors:
//
//   bun examples/gateway/main.ts --tenants examples/gateway/tenants.json \
//     --cuda-memory-pool-byte-size 0:1GiB --workers 4
//
// and NVIDIA's client, from `pip install tritonclient[http]`:
//
//   client = tritonclient.http.InferenceServerClient("127.0.0.1:8000")
//   client.infer("simple", inputs, headers={"Authorization": "Bearer KEY"})

function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}

async function main(argv: string[]): Promise<void> {
  const { graceMilliseconds, workerCount, ...options } = await parseProgramOptions(argv);
  using _managers = createMemoryManagers(parseMemoryOptions(argv));
  await using engine = chooseEngine();
  await using scheduler = new LocalScheduler(engine);
  const toldToEnd = nextSignal();
  if (workerCount === 0) {
    const gateway = new Gateway(scheduler, options);
    console.log(`${gateway.url} computes with ${engine.description}`);
    await toldToEnd;
    await gateway.stop(graceMilliseconds);
  } else {
    const workers = await GatewayWorkers.start(workerCount, scheduler, options);
    console.log(`${workers.url} computes with ${engine.description}`);
    try {
      await Promise.race([toldToEnd, workers.failed]);
    } finally {
      await workers.stop(graceMilliseconds);
    }
  }
}

if (import.meta.main) {
  await main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 2;
  });
}
