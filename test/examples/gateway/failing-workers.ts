// Is loaded before the gateway's program: ends each of its Workers as soon as it listens.

process.on("worker", (worker) => {
  worker.once("message", () => void worker.terminate());
});
