import { parentPort, workerData } from "node:worker_threads";
import { Gateway } from "../gateway.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";
import { RemoteScheduler } from "./remote-scheduler.ts";

// A Worker, which has clients, and receives and sends their tensors. It shares the pools and the
// accounts with all other threads.

const { models, options } = workerData as WorkerStart;
const port = parentPort!;
const post = (message: FromWorker) => port.postMessage(message);

const scheduler = new RemoteScheduler(models, post);
const gateway = new Gateway(scheduler, options);

/** With its clients and its port gone, nothing keeps the thread from ending. */
async function stop(graceMilliseconds: number): Promise<void> {
  await gateway.stop(graceMilliseconds);
  port.close();
}

port.on("message", (message: ToWorker) => {
  if (message.kind === "stop") void stop(message.graceMilliseconds);
  else scheduler.receive(message);
});
post({ kind: "listening", url: gateway.url });
