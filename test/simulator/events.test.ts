import { describe, expect, test } from "bun:test";
import { runOn, twoDevices } from "./process.ts";

describe("an event", () => {
  test("is done when what was queued before it is, and not what comes later", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const event = cuda.createEvent().value;
      const unrecorded = [cuda.queryEvent(event), cuda.synchronizeEvent(event)];
      cuda.memsetAsync(device, 1, 8, stream);
      const recorded = cuda.recordEvent(event, stream);
      simulator.setDelay({ operationNs: 300e6 });
      cuda.memsetAsync(device, 2, 8, stream);
      const early = cuda.queryEvent(event);
      const waited = cuda.synchronizeEvent(event);
      return {
        unrecorded,
        recorded,
        early,
        waited,
        late: cuda.queryEvent(event),
        stream: cuda.queryStream(stream),
      };
    });
    expect(result).toEqual({
      unrecorded: [0, 0],
      recorded: 0,
      early: 600,
      waited: 0,
      late: 0,
      stream: 600,
    });
  });

  test("orders streams, of one device and of two", () => {
    const result = runOn({ operationNs: "150000000", devices: twoDevices }, ({ cuda }) => {
      const streamOf = (device: number): number => {
        cuda.setDevice(device);
        return cuda.createStream(1).value;
      };
      const writer = streamOf(0);
      const sameDevice = streamOf(0);
      const otherDevice = streamOf(1);
      cuda.setDevice(0);
      const source = cuda.malloc(1).value;
      const pinned = cuda.hostAlloc(3).value;
      cuda.poke(pinned, 0, 3);
      const event = cuda.createEvent(2).value;
      cuda.memsetAsync(source, 1, 1, writer);
      cuda.memsetAsync(source, 9, 1, writer);
      const errors = [
        cuda.recordEvent(event, writer),
        cuda.waitEvent(sameDevice, event),
        cuda.waitEvent(otherDevice, event),
        cuda.memcpyAsync(pinned, source, 1, 2, sameDevice),
        cuda.memcpyAsync(pinned + 1, source, 1, 2, otherDevice),
        // This one waits for nothing.
        cuda.memcpyAsync(pinned + 2, source, 1, 2, streamOf(0)),
      ];
      cuda.setDevice(0);
      cuda.synchronizeDevice();
      cuda.synchronizeStream(otherDevice);
      const read = [0, 1, 2].map((index) => cuda.dereference(pinned + index));
      return { errors, waited: read.slice(0, 2), early: read[2] !== 9 };
    });
    expect(result).toEqual({ errors: Array(6).fill(0), waited: [9, 9], early: true });
  });

  test("that is recorded again changes only what waits for it later", () => {
    const result = runOn({ operationNs: "300000000" }, ({ cuda }) => {
      const [slow, idle, early, late] = [0, 1, 2, 3].map(() => cuda.createStream(1).value);
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, Number(slow));
      cuda.recordEvent(event, Number(slow));
      cuda.waitEvent(Number(early), event);
      cuda.recordEvent(event, Number(idle));
      cuda.waitEvent(Number(late), event);
      cuda.synchronizeEvent(event);
      cuda.synchronizeStream(Number(late));
      const queries = [slow, idle, early, late].map((stream) => cuda.queryStream(Number(stream)));
      return { queries, event: cuda.queryEvent(event) };
    });
    expect(result).toEqual({ queries: [600, 0, 600, 0], event: 0 });
  });

  test("on the legacy default stream captures the blocking streams too", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      const after = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(event, null);
      // It waits for the legacy stream, and that for the first.
      cuda.recordEvent(after, cuda.createStream().value);
      return [
        cuda.queryEvent(event),
        cuda.queryEvent(after),
        cuda.synchronizeEvent(after),
        cuda.queryStream(stream),
      ];
    });
    expect(result).toEqual([600, 600, 0, 0]);
  });

  test("may be destroyed before it is done, and so may the stream that it is of", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const waiting = cuda.createStream(1).value;
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      const kept = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(kept, stream);
      cuda.recordEvent(event, stream);
      cuda.waitEvent(waiting, event);
      const destroyed = [cuda.destroyEvent(event), cuda.destroyStream(stream)];
      const early = [cuda.queryStream(waiting), cuda.queryEvent(kept)];
      const waited = cuda.synchronizeStream(waiting);
      return {
        destroyed,
        early,
        waited,
        late: cuda.queryEvent(kept),
        again: cuda.destroyEvent(kept),
      };
    });
    expect(result).toEqual({ destroyed: [0, 0], early: [600, 600], waited: 0, late: 0, again: 0 });
  });

  test("has the flags that CUDA has", () => {
    const result = runOn({}, ({ cuda }) => ({
      flags: Array.from({ length: 10 }, (_, flags) => cuda.createEvent(flags).error),
      plain: cuda.createPlainEvent().error,
      nowhere: [
        cuda.callWithZeros("cudaEventCreate"),
        cuda.callWithZeros("cudaEventCreateWithFlags"),
      ],
      waits: [0, 1, 2].map((flags) => cuda.waitEvent(null, cuda.createEvent().value, flags)),
    }));
    expect(result).toEqual({
      flags: [0, 0, 0, 0, 1, 1, 0, 0, 1, 1],
      plain: 0,
      nowhere: [1, 1],
      waits: [0, 401, 1],
    });
  });

  test("is told from everything that is none", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda }) => {
      const destroyed = cuda.createEvent().value;
      cuda.destroyEvent(destroyed);
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const attempts = [null, 1, 4096, destroyed, stream, device].map((event) => [
        cuda.queryEvent(event),
        cuda.synchronizeEvent(event),
        cuda.recordEvent(event, stream),
        cuda.waitEvent(stream, event),
        cuda.destroyEvent(event),
        cuda.elapsedMs(event, event).error,
      ]);
      const here = cuda.createEvent().value;
      cuda.setDevice(1);
      const there = cuda.createEvent().value;
      return {
        attempts: [...new Set(attempts.flat())],
        devices: [
          cuda.recordEvent(here, null),
          cuda.recordEvent(there, null),
          cuda.recordEvent(there, stream),
          cuda.recordEvent(here, stream),
        ],
      };
    });
    expect(result).toEqual({ attempts: [400], devices: [400, 0, 400, 0] });
  });

  test("measures the time between two", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      const [start, end, untimed] = [
        cuda.createEvent().value,
        cuda.createEvent().value,
        cuda.createEvent(2).value,
      ];
      const unrecorded = cuda.elapsedMs(start, end);
      cuda.recordEvent(start, stream);
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(end, stream);
      cuda.recordEvent(untimed, stream);
      const early = [cuda.elapsedMs(start, end), cuda.peekError()];
      cuda.lastError();
      const pending = [cuda.elapsedMs(start, end).error, cuda.peekError()];
      cuda.synchronizeEvent(end);
      return {
        unrecorded,
        early,
        pending,
        forward: cuda.elapsedMs(start, end),
        back: cuda.elapsedMs(end, start),
        untimed: cuda.elapsedMs(start, untimed).error,
        nowhere: cuda.callWithZeros("cudaEventElapsedTime"),
      };
    });
    expect(result).toMatchObject({
      unrecorded: { error: 400, ms: -1 },
      early: [{ error: 600, ms: -1 }, 400],
      pending: [600, 0],
      forward: { error: 0 },
      back: { error: 0, ms: -result.forward.ms },
      untimed: 400,
      nowhere: 1,
    });
    expect(result.forward.ms).toBeGreaterThan(149);
    expect(result.forward.ms).toBeLessThan(1000);
  });

  test("that is not done is no error to be kept", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(event, stream);
      return [cuda.queryStream(stream), cuda.queryEvent(event), cuda.peekError(), cuda.lastError()];
    });
    expect(result).toEqual([600, 600, 0, 0]);
  });
});
