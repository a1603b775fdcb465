import type { Pointer } from "bun:ffi";
import { types } from "node:util";
import { checkByteSize, checkDeviceId, invalidArgument, isWholeNumber } from "./arguments.ts";
import { LeakGuard } from "./leak-guard.ts";
import { log } from "./logger.ts";
import { MemoryError } from "./memory-error.ts";
import { type MemoryType, memoryTypes, numberOfMemoryType } from "./memory-type.ts";
import {
  checkStatus,
  memoryLibrary,
  nativeError,
  nativeMessage,
  nativeMessages,
  newLocation,
} from "./native/memory-library.ts";
import { memoryLocation as at, memoryStatus, memoryTypeNumber } from "./native/memory-symbols.ts";

const {
  allocated_memory_alloc,
  allocated_memory_free,
  allocated_memory_write,
  allocated_memory_read,
} = memoryLibrary;

/** One buffer of a memory. */
export interface MemoryBuffer {
  /** Its address. */
  pointer: Pointer;
  /** Its bytes. */
  byteSize: number;
  /** The kind of memory that it lies in. */
  memoryType: MemoryType;
  /** The GPU's CUDA ordinal; 0 for host memory. */
  memoryTypeId: number;
}

/** A `struct memory_location`, into which the native library puts an allocation. */
const location = newLocation();

/** Frees a memory that was dropped without having been freed. */
function freeDropped(location: Float64Array): void {
  const memoryType = location[at.memory_type]!;
  const memoryTypeId = location[at.device_id]!;
  const status = allocated_memory_free(
    location[at.address]!,
    memoryType,
    memoryTypeId,
    location[at.generation]!,
  );
  if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
  log.warn(
    `an AllocatedMemory of ${location[at.byte_size]} bytes (${memoryTypes[memoryType]} ` +
      `${memoryTypeId}) was never freed; it has been freed now that it was garbage collected`,
  );
}

/**
 * A memory's `struct memory_location`, for this package's own functions; `null` for what is no
 * memory. Does not go through the public properties, which a subclass may override.
 */
export let locationOf: (memory: AllocatedMemory) => Float64Array | null;

const leakGuard = new LeakGuard<AllocatedMemory, Float64Array>(
  (memory) => locationOf(memory)!,
  freeDropped,
);

function checkArguments(byteSize: unknown, memoryType: unknown, memoryTypeId: unknown): void {
  const operation = "new AllocatedMemory";
  checkByteSize(operation, "byteSize", byteSize);
  if (numberOfMemoryType(memoryType) < 0) {
    throw invalidArgument(operation, "memoryType", '"CPU", "CPU_PINNED" or "GPU"', memoryType);
  }
  checkDeviceId(operation, memoryTypeId);
}

/** @throws {MemoryError} `INVALID_ARG` unless the range lies inside the memory. */
export function checkRange(
  operation: string,
  location: Float64Array,
  offset: unknown,
  byteSize: number,
): void {
  if (!isWholeNumber(offset)) {
    throw invalidArgument(operation, "the offset", "a whole number of bytes from 0", offset);
  }
  const totalByteSize = location[at.byte_size]!;
  if (byteSize > totalByteSize - offset) {
    throw new MemoryError(
      "INVALID_ARG",
      `${operation}: ${byteSize} bytes at offset ${offset} are not inside a memory of ` +
        `${totalByteSize} bytes`,
    );
  }
}

/** The bytes of a buffer or a view, whatever its element type. */
function bytesOf(operation: string, name: string, value: unknown): Uint8Array {
  try {
    if (ArrayBuffer.isView(value)) {
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    }
    if (types.isAnyArrayBuffer(value)) return new Uint8Array(value);
  } catch {
    throw invalidArgument(operation, name, "a buffer that is not detached", value);
  }
  throw invalidArgument(operation, name, "an ArrayBuffer or a view of one", value);
}

/**
 * Memory for a tensor: CUDA memory where a GPU was asked for and its pool can serve, else pinned
 * system memory, else non-pinned system memory. What was really got is in {@link memoryType}. The
 * first fallback of each kind in a process is warned about. After Triton's `AllocatedMemory`.
 *
 * Free it with `using`, {@link free} or `[Symbol.dispose]`. Memory that is only dropped is freed
 * once it is garbage collected, with a warning, which may be late.
 *
 * @example
 * ```ts
 * using tensor = new AllocatedMemory(4096, "GPU", 0);
 * tensor.write(new Float32Array(1024));
 * if (tensor.memoryType !== "GPU") console.log("the pool of GPU 0 is full");
 * ```
 */
export class AllocatedMemory implements Disposable {
  /** 0 where there is no memory, or no longer. */
  #address = 0;
  #byteSize = 0;
  #memoryType = memoryTypeNumber.MEMORY_CPU as number;
  #memoryTypeId = 0;
  #generation = 0;
  #leakTicket = 0;

  static {
    locationOf = (memory) => {
      if (!(#address in memory)) return null;
      const location = newLocation();
      location[at.address] = memory.#address;
      location[at.byte_size] = memory.#byteSize;
      location[at.memory_type] = memory.#memoryType;
      location[at.device_id] = memory.#memoryTypeId;
      location[at.generation] = memory.#generation;
      return location;
    };
  }

  /**
   * @param byteSize Bytes, from 0, which allocates nothing.
   * @param memoryType `"GPU"` begins at CUDA memory, `"CPU_PINNED"` and `"CPU"` at pinned memory.
   * @param memoryTypeId The GPU's CUDA ordinal; not looked at for host memory.
   * @throws {MemoryError} `INVALID_ARG` for arguments that are not what they have to be. It does not
   * throw for lack of memory: a request that nothing can serve is an empty memory, and an error is
   * logged.
   */
  constructor(byteSize: number, memoryType: MemoryType, memoryTypeId = 0) {
    const wanted = numberOfMemoryType(memoryType);
    if (!isWholeNumber(byteSize) || wanted < 0 || !isWholeNumber(memoryTypeId)) {
      checkArguments(byteSize, memoryType, memoryTypeId);
    }
    if (byteSize === 0) {
      this.#memoryType = wanted;
      if (memoryType === "GPU") this.#memoryTypeId = memoryTypeId;
      return;
    }
    const status = allocated_memory_alloc(location, byteSize, wanted, memoryTypeId);
    if (status < memoryStatus.MEMORY_OK) {
      log.error(nativeMessage());
      return;
    }
    this.#address = location[at.address]!;
    this.#byteSize = byteSize;
    this.#memoryType = location[at.memory_type]!;
    this.#memoryTypeId = location[at.device_id]!;
    this.#generation = location[at.generation]!;
    this.#leakTicket = leakGuard.watch(this);
    if (status > memoryStatus.MEMORY_OK) nativeMessages().forEach(log.warn);
  }

  /** Bytes that were asked for and got; 0 where nothing was got, and once freed. */
  get totalByteSize(): number {
    return this.#byteSize;
  }

  /** How many buffers there are: 1, or 0 where there is no memory. */
  get bufferCount(): number {
    return this.#address === 0 ? 0 : 1;
  }

  /** The address, a multiple of 512; `null` where there is no memory. */
  get pointer(): Pointer | null {
    return this.#address === 0 ? null : (this.#address as Pointer);
  }

  /** The kind of memory that was really got. */
  get memoryType(): MemoryType {
    return memoryTypes[this.#memoryType]!;
  }

  /** The GPU's CUDA ordinal; 0 for host memory, also after a fallback. */
  get memoryTypeId(): number {
    return this.#memoryTypeId;
  }

  /**
   * The buffer at an index, or `null` where there is none. An allocated memory has one buffer at
   * the most; Triton's other kinds of memory have several.
   *
   * @throws {MemoryError} `INVALID_ARG` for an index that is no whole number.
   */
  bufferAt(index: number): MemoryBuffer | null {
    if (!isWholeNumber(index)) {
      throw invalidArgument("bufferAt", "index", "a whole number from 0", index);
    }
    const { pointer, totalByteSize, memoryType, memoryTypeId } = this;
    if (pointer === null || index > 0) return null;
    return { pointer, byteSize: totalByteSize, memoryType, memoryTypeId };
  }

  /**
   * Copies the source's bytes into the memory, of whatever type, at `byteOffset`. They are there
   * when it returns.
   *
   * @throws {MemoryError} `INVALID_ARG` where they do not fit, before a byte moves; `UNAVAILABLE`
   * where the memory's manager was reset; `INTERNAL` where CUDA fails.
   */
  write(source: ArrayBuffer | ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("write", "source", source);
    const location = locationOf(this)!;
    checkRange("write", location, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_write(location, byteOffset, bytes, bytes.byteLength));
  }

  /**
   * Fills the target with the memory's bytes from `byteOffset` on, out of memory of any type.
   *
   * @throws {MemoryError} `INVALID_ARG` where the memory has not that many, before a byte moves;
   * `UNAVAILABLE` where the memory's manager was reset; `INTERNAL` where CUDA fails.
   */
  read(target: ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("read", "target", target);
    const location = locationOf(this)!;
    checkRange("read", location, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_read(location, byteOffset, bytes, bytes.byteLength));
  }

  /**
   * Gives the memory back to where it came from. A second call does nothing, and neither does one
   * after the manager was reset.
   *
   * @throws {MemoryError} `INVALID_ARG` where the memory was freed already through its pointer.
   */
  free(): void {
    const address = this.#address;
    if (address === 0) return;
    this.#address = 0;
    this.#byteSize = 0;
    leakGuard.release(this, this.#leakTicket);
    const status = allocated_memory_free(
      address,
      this.#memoryType,
      this.#memoryTypeId,
      this.#generation,
    );
    if (status !== memoryStatus.MEMORY_OK) throw nativeError(status);
  }

  /** The same as {@link free}, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }
}
