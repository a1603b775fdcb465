/** Runs a script beside this one in a Worker; returns its answer to the message. */
export function inWorker<Result>(script: string, message: unknown): Promise<Result> {
  const worker = new Worker(new URL(script, import.meta.url));
  return new Promise<Result>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data as Result);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(message);
  }).finally(() => worker.terminate());
}
