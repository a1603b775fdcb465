import type { AllocatedMemory } from "bun-cuda-memory";
import type { Board, ManagerName } from "./events.ts";
import { StormFailure } from "./failure.ts";
import { type ByteModel, checkBytes } from "./model.ts";

/** The resets that there had been when memory was allocated, of each manager. */
export interface Birth {
  /** How many had ended before. */
  readonly ended: Readonly<Record<ManagerName, number>>;
  /** How many had begun afterwards. */
  readonly begun: Readonly<Record<ManagerName, number>>;
}

/** A memory that a thread has, and what it has to show. */
export class HeldMemory {
  readonly memory: AllocatedMemory;
  readonly model: ByteModel;
  readonly name: string;
  readonly birth: Birth;
  readonly manager: ManagerName;
  readonly isOnGpu: boolean;
  /** Whether another thread has a view: nobody writes to the memory any more. */
  isLent = false;
  isFreed = false;
  /** Transfers of the memory that are under way. */
  transferCount = 0;
  /** Whether a transfer that was given up may still use it, for all that anybody can know. */
  isLeftInUse = false;
  /** Transfers under way whose JS side is a view of the memory. */
  viewUseCount = 0;
  readonly #board: Board;

  constructor(board: Board, memory: AllocatedMemory, model: ByteModel, name: string, birth: Birth) {
    this.#board = board;
    this.memory = memory;
    this.model = model;
    this.name = name;
    this.birth = birth;
    this.isOnGpu = memory.memoryType === "GPU";
    this.manager = this.isOnGpu ? "cuda" : "pinned";
  }

  /** Whether a reset may have taken the memory by now. */
  get mayBeGone(): boolean {
    return mayHaveSeenResetOf(this.manager, this.#board, this.birth);
  }

  /** Whether any manager may have been reset since the memory was allocated. */
  get mayHaveSeenReset(): boolean {
    return mayHaveSeenReset(this.#board, this.birth);
  }

  /** Whether one that began after the memory was allocated has ended: there is no doubt. */
  get isGone(): boolean {
    return this.#board.resetsEnded(this.manager) > this.birth.begun[this.manager];
  }
}

/** Whether any manager may have been reset since a memory was allocated. */
export function mayHaveSeenReset(board: Board, birth: Birth): boolean {
  return mayHaveSeenResetOf("cuda", board, birth) || mayHaveSeenResetOf("pinned", board, birth);
}

function mayHaveSeenResetOf(manager: ManagerName, board: Board, birth: Birth): boolean {
  return board.resetsBegun(manager) > birth.ended[manager];
}

/** A view that a thread keeps, also when the memory is freed and its manager reset. */
export class HeldView {
  readonly view: Uint8Array;
  /** It stays for the view where it was only dropped. */
  readonly held: HeldMemory;
  /** Where in the memory it begins. */
  readonly begin: number;
  readonly #byteSize: number;

  constructor(held: HeldMemory, view: Uint8Array, begin: number) {
    this.held = held;
    this.view = view;
    this.begin = begin;
    this.#byteSize = view.byteLength;
  }

  /** @throws {StormFailure} Unless it is empty, or shows the memory's own bytes. */
  check(): void {
    const { held, view, begin } = this;
    const { byteLength } = view;
    if (byteLength === 0) {
      if (held.isFreed || held.mayBeGone || held.isLent) return;
      throw new StormFailure(`a view of ${held.name} with ${this.#byteSize} bytes`, "no bytes");
    }
    if (held.isFreed && held.viewUseCount === 0) {
      throw new StormFailure(`an empty view of ${held.name}, which was freed`, `${byteLength}`);
    }
    const range = { begin, end: begin + this.#byteSize };
    checkBytes(`a view of ${held.name}`, view, held.model.content(range, null));
  }
}
