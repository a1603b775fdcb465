import type { Pointer } from "bun:ffi";
import { types } from "node:util";
import { invalidArgument, isWholeNumber } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import { deviceIdOf, memoryTypeOf } from "../native/memory-place.ts";
import { memoryAllocation as at } from "../native/memory-symbols.ts";
import { notCloneable } from "../native/not-cloneable.ts";
import { bytesOf } from "./js-bytes.ts";
import { foreignPiecesOf, type ReferencedPiece, referenceKey } from "./memory-access.ts";
import type { MemoryBuffer } from "./memory-buffer.ts";
import { memoryTypes } from "../native/memory-type.ts";
import { allocationOf, type MutableMemory } from "./mutable-memory.ts";

/** One buffer of a {@link MemoryReference}. */
export interface ReferencedBuffer extends Omit<MemoryBuffer, "pointer"> {
  /** The buffer's address; `null` for JS memory, which may move, and where there are no bytes. */
  pointer: Pointer | null;
}

/** Reads the pieces of a reference, or null for any other object. The class sets it. */
let readPieces: (object: object) => readonly ReferencedPiece[] | null;

/** The pieces of a reference, for this package's own functions; `null` for any other value. */
export function piecesOfReference(reference: unknown): readonly ReferencedPiece[] | null {
  if (typeof reference !== "object" || reference === null) return null;
  return readPieces(reference) ?? foreignPiecesOf(reference);
}

/**
 * Several buffers, one after another, that are read as if they were one: the tensors of a batch, say.
 * No bytes are copied before {@link copyBuffer} gathers them. After Triton's `MemoryReference`.
 *
 * The reference keeps what it refers to from being garbage collected, but not from being freed: then
 * it cannot be copied any more.
 *
 * @example
 * ```ts
 * const reference = new MemoryReference();
 * for (let i = 0; i < 8; i++) reference.append(new Float32Array(1024).fill(i));
 * using batch = new AllocatedMemory(reference.totalByteSize, "GPU");
 * copyBuffer(batch, reference);
 * ```
 */
export class MemoryReference {
  /** A reference cannot be posted: what it refers to stays in its thread. */
  readonly cannotBeCloned = notCloneable;

  readonly #pieces: ReferencedPiece[] = [];
  #totalByteSize = 0;

  static {
    readPieces = (object) => (#pieces in object ? object.#pieces : null);
    Object.defineProperties(MemoryReference.prototype, {
      [referenceKey]: {
        value(this: object) {
          return readPieces(this);
        },
      },
      [Symbol.for("nodejs.util.inspect.custom")]: {
        value(this: unknown) {
          return typeof this === "object" && this !== null && #pieces in this
            ? `MemoryReference { ${this.#pieces.length} buffers, ${this.#totalByteSize} bytes }`
            : "MemoryReference {}";
        },
      },
    });
  }

  /** The bytes of all buffers together. */
  get totalByteSize(): number {
    return this.#totalByteSize;
  }

  /** How many buffers there are, those without bytes among them. */
  get bufferCount(): number {
    return this.#pieces.length;
  }

  /**
   * The buffer at an index, or `null` where there is none.
   *
   * @throws {MemoryError} `INVALID_ARG` for an index that is no whole number; `UNAVAILABLE` where the
   * memory there was freed or detached.
   */
  bufferAt(index: number): ReferencedBuffer | null {
    if (!isWholeNumber(index)) {
      throw invalidArgument("bufferAt", "index", "a whole number from 0", index);
    }
    const piece = this.#pieces[index];
    if (piece === undefined) return null;
    const { source, byteSize } = piece;
    const allocation = allocationOf("bufferAt", source);
    if (allocation === null) return { pointer: null, byteSize, memoryType: "CPU", memoryTypeId: 0 };
    const place = allocation[at.place]!;
    return {
      pointer: byteSize === 0 ? null : (allocation[at.address] as Pointer),
      byteSize,
      memoryType: memoryTypes[memoryTypeOf(place)]!,
      memoryTypeId: deviceIdOf(place),
    };
  }

  /**
   * Adds a buffer after all others: a memory, or JS memory with as many bytes as it has now.
   *
   * @throws {MemoryError} `INVALID_ARG` for anything else; `UNAVAILABLE` for a memory that was freed,
   * detached or never got.
   */
  append(buffer: MutableMemory | ArrayBufferLike | ArrayBufferView): this {
    this.#pieces.push(this.#newPiece("append", buffer));
    return this;
  }

  /**
   * Adds a buffer before all others.
   *
   * @throws {MemoryError} as {@link append} does.
   */
  prepend(buffer: MutableMemory | ArrayBufferLike | ArrayBufferView): this {
    this.#pieces.unshift(this.#newPiece("prepend", buffer));
    return this;
  }

  #newPiece(operation: string, buffer: unknown): ReferencedPiece {
    const allocation = allocationOf(operation, buffer);
    const source = allocation === null ? bytesOfBuffer(operation, buffer) : (buffer as object);
    const byteSize = allocation?.[at.byte_size] ?? (source as Uint8Array).byteLength;
    const totalByteSize = this.#totalByteSize + byteSize;
    if (!isWholeNumber(totalByteSize)) {
      throw new MemoryError("INVALID_ARG", `${operation}: a reference has 2^53 - 1 bytes at most`);
    }
    this.#totalByteSize = totalByteSize;
    return { source, byteSize };
  }
}

/** @throws {MemoryError} `INVALID_ARG` for what is no JS memory, and where it is detached. */
function bytesOfBuffer(operation: string, buffer: unknown): Uint8Array {
  if (ArrayBuffer.isView(buffer) || types.isAnyArrayBuffer(buffer)) {
    return bytesOf(operation, "buffer", buffer);
  }
  throw invalidArgument(operation, "buffer", "a memory, an ArrayBuffer or a view of one", buffer);
}
