// What is expected here was measured on an H100 with CUDA 13.0.

import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { cuda, CudartSimulator, type Outcome } from "./cudart.ts";
import { runOn } from "./process.ts";

/** The values of `enum cudaStreamCaptureMode`. */
const [global, threadLocal, relaxed] = [0, 1, 2];
/** The flags of a stream. */
const [blocking, nonBlocking] = [0, 1];

const other = cuda.createStream(nonBlocking).value;
const event = cuda.createEvent(2).value;
const device = cuda.malloc(16).value;
const pinned = cuda.hostAlloc(16).value;
const ordinary = new Uint8Array(16);
cuda.recordEvent(event, other);
cuda.synchronizeDevice();

// What a test has queued must not change what the next one finds.
afterEach(() => {
  expect(cuda.synchronizeDevice()).toBe(0);
});

afterAll(() => {
  const freed = [
    cuda.destroyStream(other),
    cuda.destroyEvent(event),
    cuda.free(device),
    cuda.freeHost(pinned),
  ];
  expect(freed).toEqual([0, 0, 0, 0]);
});

interface Captured {
  readonly mode?: number;
  readonly flags?: number;
  readonly threadMode?: number;
}

/** What the calls return while a stream is captured; its status, and the end's result. */
function during(
  { mode = global, flags = nonBlocking, threadMode = global }: Captured,
  calls: (stream: number, captured: number) => number[],
) {
  const stream = cuda.createStream(flags).value;
  const captured = cuda.createEvent(2).value;
  cuda.exchangeCaptureMode(threadMode);
  expect(cuda.beginCapture(stream, mode)).toBe(0);
  const results = calls(stream, captured);
  const status = cuda.captureStatus(stream).value;
  const end = cuda.endCapture(stream);
  cuda.exchangeCaptureMode(global);
  expect(end.value === 0).toBe(end.error !== 0);
  if (end.error === 0) expect(cuda.destroyGraph(end.value)).toBe(0);
  cuda.destroyStream(stream);
  cuda.destroyEvent(captured);
  cuda.lastError();
  return [results, status, end.error];
}

const valid = [1, 0];
const invalidated = [2, 901];

/** Gives back what a call has made, if it has, in a way that no capture prohibits. */
function undone({ error, value }: Outcome, undo: (made: number) => number): number {
  const { value: mode } = cuda.exchangeCaptureMode(relaxed);
  if (error === 0) expect(undo(value)).toBe(0);
  cuda.exchangeCaptureMode(mode);
  return error;
}

const unsafeCalls = {
  cudaMalloc: () => undone(cuda.malloc(16), cuda.free),
  cudaFree: () => cuda.free(null),
  cudaHostAlloc: () => undone(cuda.hostAlloc(16), cuda.freeHost),
  cudaFreeHost: () => cuda.freeHost(null),
  "cudaStreamSynchronize of another": () => cuda.synchronizeStream(other),
  "cudaStreamQuery of another": () => cuda.queryStream(other),
  cudaEventQuery: () => cuda.queryEvent(event),
  cudaEventSynchronize: () => cuda.synchronizeEvent(event),
};

const safeCalls = {
  cudaMemGetInfo: () => cuda.memoryInfo().error,
  cudaPointerGetAttributes: () => cuda.pointerAttributes(device).error,
  cudaEventCreate: () => undone(cuda.createEvent(), cuda.destroyEvent),
  cudaStreamCreate: () => undone(cuda.createStream(), cuda.destroyStream),
  cudaSetDevice: () => cuda.setDevice(0),
  "cudaEventRecord on another": () => cuda.recordEvent(event, other),
  "cudaMemsetAsync on another": () => cuda.memsetAsync(device, 0, 16, other),
};

const legacyCalls = {
  cudaMemset: () => cuda.memset(device, 0, 4),
  "cudaMemcpy of pinned memory": () => cuda.memcpy(device, pinned, 4, 4),
  "cudaMemcpy of host memory": () => cuda.memcpy(ordinary, new Uint8Array(4), 4, 4),
  cudaMemsetAsync: () => cuda.memsetAsync(device, 0, 4, null),
  cudaEventRecord: () => cuda.recordEvent(event, null),
};

const legacyWaits = {
  cudaStreamSynchronize: () => cuda.synchronizeStream(null),
  cudaStreamQuery: () => cuda.queryStream(1),
};

describe("while a stream is captured", () => {
  test.each(Object.entries(unsafeCalls))("%s is refused where the mode prohibits it", (_, call) => {
    for (const flags of [blocking, nonBlocking]) {
      for (const mode of [global, threadLocal]) {
        expect(during({ mode, flags }, () => [call()])).toEqual([[900], ...invalidated]);
        expect(during({ mode, flags, threadMode: relaxed }, () => [call()])).toEqual([
          [0],
          ...valid,
        ]);
        expect(during({ mode, threadMode: threadLocal }, () => [call()])).toEqual([
          [900],
          ...invalidated,
        ]);
      }
      expect(during({ mode: relaxed, flags }, () => [call()])).toEqual([[0], ...valid]);
    }
  });

  test.each(Object.entries(safeCalls))("%s is not refused", (_, call) => {
    for (const flags of [blocking, nonBlocking]) {
      expect(during({ flags }, () => [call()])).toEqual([[0], ...valid]);
    }
  });

  test.each(Object.entries(legacyCalls))(
    "%s on the legacy stream is refused if the stream is blocking, in any mode",
    (_, call) => {
      for (const threadMode of [global, relaxed]) {
        expect(during({ flags: blocking, threadMode }, () => [call()])).toEqual([
          [906],
          ...invalidated,
        ]);
        expect(during({ threadMode }, () => [call()])).toEqual([[0], ...valid]);
      }
    },
  );

  test.each(Object.entries(legacyWaits))("%s of the legacy stream is refused", (_, call) => {
    expect(during({ flags: blocking, mode: relaxed }, () => [call()])).toEqual([
      [906],
      ...invalidated,
    ]);
    expect(during({}, () => [call()])).toEqual([[900], ...invalidated]);
    expect(during({ threadMode: relaxed }, () => [call()])).toEqual([[0], ...valid]);
  });

  test("its own synchronization and that of its device are refused in any mode", () => {
    for (const machine of [{}, { mode: relaxed }, { threadMode: relaxed }]) {
      for (const call of [cuda.synchronizeStream, cuda.queryStream, cuda.synchronizeDevice]) {
        expect(during(machine, (stream) => [call(stream)])).toEqual([[900], ...invalidated]);
      }
    }
  });

  test("asking for its status harms nothing, through the legacy stream neither", () => {
    expect(
      during({ flags: blocking }, (stream) => [
        cuda.captureStatus(stream).value,
        cuda.captureStatus(null).error,
        cuda.captureStatus(other).value,
      ]),
    ).toEqual([[1, 906, 0], ...valid]);
  });

  test("what is queued on it is not performed, and no operation", () => {
    const bytes = new Uint8Array(16).fill(9);
    expect(cuda.memset(device, 1, 16)).toBe(0);
    CudartSimulator.failOperation({ error: 999 });
    expect(
      during({}, (stream) => [
        cuda.memsetAsync(device, 7, 16, stream),
        cuda.memcpyAsync(bytes, device, 16, 4, stream),
        cuda.memcpyAsync(device, ordinary, 16, 4, stream),
        cuda.launchHostFunction(stream, cuda.cFunction("abort"), null),
      ]),
    ).toEqual([[0, 0, 0, 0], ...valid]);
    CudartSimulator.clearFaults();
    expect(cuda.synchronizeDevice()).toBe(0);
    expect([...bytes]).toEqual(Array(16).fill(9));
    expect(cuda.bytesOf(device, 16)).toEqual(Array(16).fill(1));
  });

  test("nothing more is captured once it is invalidated", () => {
    expect(
      during({}, (stream, captured) => [
        cuda.queryEvent(event),
        cuda.memsetAsync(device, 0, 4, stream),
        cuda.recordEvent(captured, stream),
        cuda.queryStream(stream),
      ]),
    ).toEqual([[900, 901, 901, 900], ...invalidated]);
  });
});

describe("an event that is captured", () => {
  test.each([
    ["cudaEventQuery", cuda.queryEvent],
    ["cudaEventSynchronize", cuda.synchronizeEvent],
  ])("cannot be asked by %s, while it is captured and after", (_, ask) => {
    let kept = 0;
    const result = during({ threadMode: relaxed }, (stream) => {
      kept = cuda.createEvent(2).value;
      return [cuda.recordEvent(kept, stream), ask(kept)];
    });
    expect(result).toEqual([[0, 907], ...invalidated]);
    expect(ask(kept)).toBe(1);
    expect(during({}, (stream) => [cuda.waitEvent(stream, kept)])).toEqual([[1], ...invalidated]);
    expect([cuda.recordEvent(kept, other), cuda.synchronizeEvent(kept)]).toEqual([0, 0]);
    cuda.destroyEvent(kept);
  });

  test("has no time, and does no harm where nobody asks", () => {
    const { eventCount } = CudartSimulator.liveHandles();
    const timed = cuda.createEvent().value;
    expect(
      during({}, (stream) => [cuda.recordEvent(timed, stream), cuda.elapsedMs(timed, timed).error]),
    ).toEqual([[0, 907], ...valid]);
    expect(
      during({}, (stream) => [cuda.recordEvent(timed, stream), cuda.destroyEvent(timed)]),
    ).toEqual([[0, 0], ...valid]);
    expect(CudartSimulator.liveHandles().eventCount).toBe(eventCount);
  });

  test("has another stream join, whose work has to be joined again", () => {
    const fork = (stream: number, captured: number) => [
      cuda.recordEvent(captured, stream),
      cuda.waitEvent(other, captured),
      cuda.captureStatus(other).value,
    ];
    expect(during({}, fork)).toEqual([[0, 0, 1], ...valid]);
    const work = () => cuda.memsetAsync(device, 0, 4, other);
    expect(during({}, (s, e) => [...fork(s, e), work()])).toEqual([[0, 0, 1, 0], 1, 904]);
    const join = (stream: number) => [
      cuda.recordEvent(event, other),
      cuda.waitEvent(stream, event),
    ];
    expect(during({}, (s, e) => [...fork(s, e), work(), ...join(s)])).toEqual([
      [0, 0, 1, 0, 0, 0],
      ...valid,
    ]);
    expect(during({}, (s, e) => [...fork(s, e), cuda.endCapture(other).error])).toEqual([
      [0, 0, 1, 903],
      ...invalidated,
    ]);
    expect(cuda.captureStatus(other)).toEqual({ error: 0, value: 0 });
    cuda.recordEvent(event, other);
    expect(cuda.synchronizeEvent(event)).toBe(0);
  });

  test("is the only kind that a captured stream may wait for, unless it says that it is outside", () => {
    const unrecorded = cuda.createEvent(2).value;
    cuda.recordEvent(event, other);
    expect(during({}, (stream) => [cuda.waitEvent(stream, unrecorded)])).toEqual([[0], ...valid]);
    expect(during({}, (stream) => [cuda.waitEvent(stream, event)])).toEqual([
      [905],
      ...invalidated,
    ]);
    expect(during({}, (stream) => [cuda.waitEvent(stream, event, 1)])).toEqual([[0], ...valid]);
    cuda.destroyEvent(unrecorded);
  });

  test("cannot merge two captures", () => {
    const second = cuda.createStream(nonBlocking).value;
    const result = during({}, (stream, captured) => [
      cuda.beginCapture(second),
      cuda.recordEvent(captured, stream),
      cuda.waitEvent(second, captured),
      cuda.endCapture(second).error,
    ]);
    expect(result).toEqual([[0, 0, 902, 901], ...invalidated]);
    cuda.destroyStream(second);
  });
});

describe("a capture", () => {
  test("begins and ends once, on a stream that can be captured", () => {
    const stream = cuda.createStream(nonBlocking).value;
    expect([
      cuda.endCapture(stream).error,
      cuda.endCapture(null).error,
      cuda.beginCapture(null),
      cuda.beginCapture(stream, 9),
      cuda.beginCapture(3),
      cuda.callWithZeros("cudaStreamEndCapture"),
      cuda.destroyGraph(null),
      cuda.exchangeCaptureMode(-1).error,
    ]).toEqual([401, 401, 900, 1, 400, 1, 1, 1]);
    expect(during({}, (s) => [cuda.beginCapture(s)])).toEqual([[401], ...valid]);
    cuda.beginCapture(2);
    const { error, value } = cuda.endCapture(2);
    expect([error, cuda.destroyGraph(value), cuda.destroyGraph(value)]).toEqual([0, 0, 1]);
    cuda.destroyStream(stream);
  });

  test("ends with its stream", () => {
    const stream = cuda.createStream(blocking).value;
    cuda.beginCapture(stream);
    expect([cuda.destroyStream(stream), cuda.free(null), cuda.synchronizeDevice()]).toEqual([
      0, 0, 0,
    ]);
  });

  test("keeps each thread's own mode", () => {
    expect(cuda.exchangeCaptureMode(relaxed)).toEqual({ error: 0, value: global });
    expect(cuda.exchangeCaptureMode(global)).toEqual({ error: 0, value: relaxed });
  });

  test("restricts other threads where its mode is global, and is ended by none of them", () => {
    const seen = runOn({}, async ({ cuda: own }) => {
      const ask = (mode: number) => {
        const stream = own.createStream(1).value;
        own.beginCapture(stream, mode);
        const worker = new Worker(own.captureThreadPath);
        return new Promise((resolve, reject) => {
          worker.addEventListener("error", reject);
          worker.addEventListener("message", ({ data }) =>
            resolve({
              ...data,
              status: own.captureStatus(stream).value,
              end: own.endCapture(stream).error,
            }),
          );
          worker.postMessage(stream);
        });
      };
      return [await ask(0), await ask(1), await ask(2)];
    });
    expect(seen).toEqual([
      { malloc: 900, relaxed: 0, ended: 908, status: 0, end: 401 },
      { malloc: 0, relaxed: 0, ended: 908, status: 0, end: 401 },
      { malloc: 0, relaxed: 0, ended: 0, status: 0, end: 401 },
    ]);
  });
});
