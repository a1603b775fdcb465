import { dlopen, type Pointer } from "bun:ffi";
import { afterAll, describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { cudart, cudartPath } from "../../src/native/cudart.ts";
import { extraCudartSymbols } from "../../src/native/cudart-symbols.ts";
import { isSimulated } from "../support/runtime.ts";
import { createManagers, kibibyte, resetSimulatorAfterEach } from "./slow-gpu.ts";

resetSimulatorAfterEach();

describe.skipIf(!isSimulated)("a stream that is captured into a CUDA graph", () => {
  const runtime = dlopen(cudartPath()!, extraCudartSymbols).symbols;
  afterAll(() => expect(cudart()!.cudaGetLastError()).toBe(0));

  /** Runs an action while the stream is captured, and expects that the capture ends well. */
  async function whileCaptured(stream: CudaStream, action: () => unknown): Promise<unknown> {
    expect(runtime.cudaStreamBeginCapture(stream.handle, 0)).toBe(0);
    let result: unknown;
    try {
      result = await action();
    } catch (error) {
      result = error;
    }
    const graph = new BigUint64Array(1);
    expect(runtime.cudaStreamEndCapture(stream.handle, graph)).toBe(0);
    expect(runtime.cudaGraphDestroy(Number(graph[0]) as Pointer)).toBe(0);
    return result;
  }

  test("a resize leaves the capture valid", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    for (const byteSize of [128 * kibibyte, 0, 64 * kibibyte]) {
      await whileCaptured(stream, () => CudaMemoryManager.resize(0, byteSize));
    }
    expect(CudaMemoryManager.stats(0).capacityByteSize).toBe(64 * kibibyte);
  });

  const kinds = ["GPU", "CPU_PINNED", "CPU"] as const;

  test.each(["first", "last"])(
    "free() with several of which it is the %s is refused",
    async (place) => {
      createManagers(64 * kibibyte);
      using stream = new CudaStream(0);
      using other = new CudaStream(0);
      const streams = place === "first" ? [stream, other] : [other, stream];
      for (const kind of kinds) {
        const memory = new AllocatedMemory(1000, kind);
        const refused = await whileCaptured(stream, () => memory.free(streams));
        expect(refused).toMatchObject({ code: "UNSUPPORTED" });
        expect(memory.totalByteSize).toBe(1000);
        memory.free(streams);
      }
      await Promise.all(streams.map((each) => each.finished()));
      expect(CudaMemoryManager.stats(0).allocationCount).toBe(0);
      expect(PinnedMemoryManager.stats().allocationCount).toBe(0);
    },
  );

  test("may be borrowed meanwhile, and be refused as any other", async () => {
    createManagers(64 * kibibyte);
    using owner = new CudaStream(0);
    const memory = new AllocatedMemory(1000, "GPU");
    using borrowed = (await whileCaptured(owner, () =>
      CudaStream.from(owner.handle, 0),
    )) as CudaStream;
    const refused = await whileCaptured(owner, () => memory.free(borrowed));
    expect(refused).toMatchObject({ code: "UNSUPPORTED" });
    memory.free(borrowed);
    await borrowed.finished();
  });

  /** A stream that the legacy default stream and it wait for each other. */
  function createBlockingStream(): { handle: Pointer; destroy: () => void } {
    const { cudaStreamCreate, cudaStreamDestroy } = dlopen(cudartPath()!, {
      cudaStreamCreate: { args: ["ptr"], returns: "i32" },
      cudaStreamDestroy: { args: ["ptr"], returns: "i32" },
    }).symbols;
    const handles = new BigUint64Array(1);
    expect(cudaStreamCreate(handles)).toBe(0);
    const handle = Number(handles[0]) as Pointer;
    return { handle, destroy: () => expect(cudaStreamDestroy(handle)).toBe(0) };
  }

  test("keeps work from the default stream, if it waits for that", async () => {
    createManagers(64 * kibibyte);
    const blocking = createBlockingStream();
    using captured = CudaStream.from(blocking.handle, 0);
    using stream = CudaStream.from(0 as Pointer, 0);
    using other = new CudaStream(0);
    using memory = memoryOf("GPU");
    for (const action of [
      () => memory.free(stream),
      () => memory.free([other, stream]),
      () => memory.writeAsync(new Uint8Array(1000), 0, { stream }),
      () => new AllocatedMemory(100, "GPU", 0, { stream }),
      () => stream.finished(),
      () => stream.isDone(),
      () => stream.waitFor(other),
      () => other.waitFor(stream),
    ]) {
      expect(await whileCaptured(captured, action)).toMatchObject({
        code: "UNSUPPORTED",
        message: expect.stringContaining("captured into a CUDA graph") as unknown,
      });
    }
    expect(memory.totalByteSize).toBe(1000);
    memory.free(stream);
    await stream.finished();
    captured[Symbol.dispose]();
    blocking.destroy();
  });

  test.each(kinds)("free(stream) of %s memory is refused, and works afterwards", async (kind) => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    const memory = new AllocatedMemory(1000, kind);
    const refused = await whileCaptured(stream, () => memory.free(stream));
    expect(refused).toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("captured into a CUDA graph") as unknown,
    });
    memory.free(stream);
    await stream.finished();
    expect(CudaMemoryManager.stats(0).allocationCount).toBe(0);
  });

  const memoryOf = (kind: (typeof kinds)[number]) => new AllocatedMemory(1000, kind);
  const actions: Record<string, (stream: CudaStream, memory: AllocatedMemory) => unknown> = {
    "a request": (stream) => new AllocatedMemory(100, "GPU", 0, { stream }),
    "a request for pinned memory": (stream) =>
      new AllocatedMemory(100, "CPU_PINNED", 0, { stream }),
    copyBuffer: (stream, memory) => {
      using source = memoryOf("CPU_PINNED");
      return copyBuffer(memory, source, { stream });
    },
    writeAsync: (stream, memory) => memory.writeAsync(new Uint8Array(1000), 0, { stream }),
    readAsync: (stream, memory) => memory.readAsync(new Uint8Array(1000), 0, { stream }),
    isDone: (stream) => stream.isDone(),
    synchronize: (stream) => stream.synchronize(),
    finished: (stream) => stream.finished(),
    waitFor: (stream) => {
      using other = new CudaStream(0);
      stream.waitFor(other);
    },
    "waitFor of another": (stream) => {
      using other = new CudaStream(0);
      other.waitFor(stream);
    },
  };

  test.each(Object.keys(actions))("%s is refused, and works afterwards", async (name) => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using memory = memoryOf("GPU");
    memory.fill(7);
    const refused = await whileCaptured(stream, () => actions[name]!(stream, memory));
    expect(refused).toMatchObject({ code: "UNSUPPORTED" });
    const bytes = new Uint8Array(1000);
    memory.read(bytes);
    expect(bytes).toEqual(new Uint8Array(1000).fill(7));
    const made = await actions[name]!(stream, memory);
    if (made instanceof AllocatedMemory) made.free();
    await stream.finished();
  });

  test("keeps the managers from being reset, which works afterwards", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using memory = memoryOf("GPU");
    using pinned = memoryOf("CPU_PINNED");
    const view = pinned.bytes.fill(3);
    for (const manager of [CudaMemoryManager, PinnedMemoryManager]) {
      const refused = await whileCaptured(stream, () => manager.reset());
      expect(refused).toMatchObject({
        code: "UNSUPPORTED",
        message: expect.stringContaining("captured into a CUDA graph") as unknown,
      });
    }
    expect(view).toEqual(new Uint8Array(1000).fill(3));
    copyBuffer(memory, pinned);
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect(CudartSimulator.liveDeviceMemory(0).byteSize).toBe(0);
    expect(CudartSimulator.liveHostMemory().byteSize).toBe(0);
  });

  test("disturbs nothing else, in its own thread too", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using other = new CudaStream(0);
    using memory = memoryOf("GPU");
    const freed = memoryOf("GPU");
    const result = await whileCaptured(stream, async () => {
      memory.fill(1);
      memory.write(new Uint8Array(1000));
      await memory.writeAsync(new Uint8Array(1000));
      await memory.writeAsync(new Uint8Array(1000), 0, { stream: other });
      freed.free(other);
      other.synchronize();
      new CudaStream(0)[Symbol.dispose]();
      using request = new AllocatedMemory(64 * kibibyte, "GPU");
      return [request.memoryType, other.isDone(), CudaMemoryManager.stats(0).allocationCount];
    });
    expect(result).toEqual(["CPU_PINNED", true, 1]);
  });
});
