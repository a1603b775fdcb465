import type { CudaStream } from "bun-cuda-memory";
import { CString, dlopen, type Pointer, ptr } from "bun:ffi";

// Kernels of one's own, by the driver's interface, which is the same in all versions of CUDA. What
// they work on is memory of the package: a kernel takes its `pointer`, and a launch the stream's
// `handle`.

const symbols = {
  cuInit: { args: ["u32"], returns: "i32" },
  cuDeviceGet: { args: ["ptr", "i32"], returns: "i32" },
  cuDeviceGetAttribute: { args: ["ptr", "i32", "i32"], returns: "i32" },
  cuDevicePrimaryCtxRetain: { args: ["ptr", "i32"], returns: "i32" },
  cuDevicePrimaryCtxRelease_v2: { args: ["i32"], returns: "i32" },
  cuCtxPushCurrent_v2: { args: ["ptr"], returns: "i32" },
  cuCtxPopCurrent_v2: { args: ["ptr"], returns: "i32" },
  cuModuleLoadData: { args: ["ptr", "ptr"], returns: "i32" },
  cuModuleGetFunction: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  cuModuleUnload: { args: ["ptr"], returns: "i32" },
  cuLaunchKernel: {
    args: ["ptr", "u32", "u32", "u32", "u32", "u32", "u32", "u32", "ptr", "ptr", "ptr"],
    returns: "i32",
  },
  cuPointerGetAttribute: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  cuGetErrorName: { args: ["i32", "ptr"], returns: "i32" },
} as const;

const contextOfPointer = 1;
const computeCapabilityMajor = 75;
const computeCapabilityMinor = 76;
const threadCount = 256;
/** More blocks would only wait: the kernels go on where the grid ends. */
const blockCountMax = 4096;

/** A value that C writes where it is told to. Its own buffer stays where it is. */
const out = () => new BigUint64Array(new ArrayBuffer(8));

/** Kernels on one GPU, in the context that CUDA's runtime, and so the package, uses there. */
export class CudaKernels implements Disposable {
  readonly #driver = dlopen("libcuda.so.1", symbols).symbols;
  readonly #device: number;
  readonly #context: Pointer;
  readonly #module: Pointer;
  readonly #functions = new Map<string, Pointer>();

  /**
   * @param compile Makes the code for the GPU's architecture, `sm_90` for example.
   * @throws {Error} where there is no driver, or it does not take the code.
   */
  constructor(deviceId: number, compile: (architecture: string) => Uint8Array<ArrayBuffer>) {
    this.#check("cuInit", this.#driver.cuInit(0));
    const value = out();
    this.#check("cuDeviceGet", this.#driver.cuDeviceGet(value, deviceId));
    this.#device = Number(value[0]);
    const image = compile(this.#architecture());
    this.#check(
      "cuDevicePrimaryCtxRetain",
      this.#driver.cuDevicePrimaryCtxRetain(value, this.#device),
    );
    this.#context = Number(value[0]) as Pointer;
    this.#module = this.#inContext(() => {
      this.#check("cuModuleLoadData", this.#driver.cuModuleLoadData(value, image));
      return Number(value[0]) as Pointer;
    });
  }

  #check(name: string, result: number): void {
    if (result === 0) return;
    const text = out();
    this.#driver.cuGetErrorName(result, text);
    const error = text[0] === 0n ? String(result) : new CString(Number(text[0]) as Pointer);
    throw new Error(`${name} returned ${error.toString()}`);
  }

  #architecture(): string {
    const [major, minor] = [computeCapabilityMajor, computeCapabilityMinor].map((attribute) => {
      const value = out();
      const result = this.#driver.cuDeviceGetAttribute(value, attribute, this.#device);
      this.#check("cuDeviceGetAttribute", result);
      return Number(value[0]);
    });
    return `sm_${major}${minor}`;
  }

  /** The thread's current GPU stays what it is: it is the caller's. */
  #inContext<Result>(action: () => Result): Result {
    this.#check("cuCtxPushCurrent", this.#driver.cuCtxPushCurrent_v2(this.#context));
    try {
      return action();
    } finally {
      this.#driver.cuCtxPopCurrent_v2(out());
    }
  }

  #function(name: string): Pointer {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const value = out();
    const text = Buffer.from(`${name}\0`);
    const result = this.#driver.cuModuleGetFunction(value, this.#module, text);
    this.#check("cuModuleGetFunction", result);
    const found = Number(value[0]) as Pointer;
    this.#functions.set(name, found);
    return found;
  }

  /**
   * Makes sure that the driver knows an address: a kernel that is given another ends the process's use
   * of CUDA. A simulated runtime, beside which there may be a driver, gives such addresses.
   */
  checkPointer(pointer: Pointer): void {
    const result = this.#driver.cuPointerGetAttribute(out(), contextOfPointer, pointer);
    this.#check("cuPointerGetAttribute", result);
  }

  /**
   * Queues a kernel on a stream, with a thread for each element up to a million, and returns.
   * Memory that it works on must not be freed before the stream is done, or be freed with the
   * stream.
   *
   * @param values What the kernel takes: addresses, and whole numbers of 64 bits.
   */
  launch(name: string, stream: CudaStream, elementCount: number, values: readonly number[]): void {
    if (elementCount === 0) return; // CUDA refuses a grid without blocks
    const blockCount = Math.min(Math.ceil(elementCount / threadCount), blockCountMax);
    // The driver reads both before it returns.
    const stored = new BigUint64Array(new ArrayBuffer(8 * values.length));
    for (const [index, value] of values.entries()) stored[index] = BigInt(value);
    const addresses = new BigUint64Array(new ArrayBuffer(8 * values.length));
    const first = ptr(stored);
    for (const index of values.keys()) addresses[index] = BigInt(first + 8 * index);
    const kernel = this.#function(name);
    const result = this.#inContext(() =>
      this.#driver.cuLaunchKernel(
        kernel,
        blockCount,
        1,
        1,
        threadCount,
        1,
        1,
        0, // bytes of shared memory
        stream.handle,
        addresses,
        null,
      ),
    );
    this.#check(`cuLaunchKernel of ${name}`, result);
  }

  /** Call it when nothing that was launched is under way. */
  [Symbol.dispose](): void {
    this.#inContext(() => this.#driver.cuModuleUnload(this.#module));
    this.#driver.cuDevicePrimaryCtxRelease_v2(this.#device);
  }
}
