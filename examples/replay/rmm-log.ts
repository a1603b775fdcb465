import { type AllocationEvents, AllocationEventsBuilder } from "./allocation-events.ts";

// The CSV log that RMM's logging_resource_adaptor writes (and others write after it):
//
//   Thread,Time,Action,Pointer,Size,Stream
//   140573312345856,10:15:04.123456,allocate,0x7f8a40000000,1024,0x0
//
// RMM writes an allocation's line after the allocation and a free's line before the free, so the
// order of lines is an order that can be replayed, also where several threads wrote them.

/** The log cannot be read; the message begins with the file, and the line where there is one. */
export class RmmLogError extends Error {
  override readonly name = "RmmLogError";
}

const header = "Thread,Time,Action,Pointer,Size,Stream";
const fieldCount = 6;

/** `"deallocate"` is the word of RMM's documentation, `"free"` the one of its code. */
const actions = ["allocate", "allocate failure", "free", "deallocate"] as const;
type Action = (typeof actions)[number];

interface Line {
  action: Action;
  /** In lower case, without leading zeros; `"0"` is the null pointer. */
  pointer: string;
  byteSize: number;
}

function parsePointer(text: string): string {
  if (text === "(nil)") return "0"; // the C library's way to write a null pointer
  const match = /^(?:0x)?0*([0-9a-f]+)$/i.exec(text);
  if (match === null) throw new Error(`"${text}" is not a hexadecimal pointer`);
  return match[1]!.toLowerCase();
}

function parseByteSize(text: string): number {
  const byteSize = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(byteSize)) throw new Error(`"${text}" is not a size in bytes`);
  return byteSize;
}

function parseLine(text: string): Line {
  const fields = text.split(",");
  if (fields.length !== fieldCount) {
    throw new Error(`expected ${fieldCount} fields (${header}), got ${fields.length}`);
  }
  const action = actions.find((known) => known === fields[2]);
  if (action === undefined) throw new Error(`unknown action "${fields[2]}"`);
  return { action, pointer: parsePointer(fields[3]!), byteSize: parseByteSize(fields[4]!) };
}

/** What an address holds while it is live: an allocation, or nothing worth an event. */
const noEvent = -1;

/** Pairs frees with their allocations; an address may be used again once it is freed. */
class Pairing {
  readonly builder = new AllocationEventsBuilder();
  readonly #live = new Map<string, number>();

  add({ action, pointer, byteSize }: Line): void {
    // Nothing was got, so nothing will be freed. Programs that spill to the host try again, and
    // that is another line.
    if (action === "allocate failure") return;
    // RMM's answer to a request for 0 bytes, as often as it is asked.
    if (pointer === "0") {
      if (byteSize > 0) throw new Error(`a null pointer cannot hold ${byteSize} bytes`);
      return;
    }
    if (action === "allocate") this.#allocate(pointer, byteSize);
    else this.#free(pointer);
  }

  #allocate(pointer: string, byteSize: number): void {
    if (this.#live.has(pointer)) {
      throw new Error(`0x${pointer} is allocated again without having been freed`);
    }
    this.#live.set(pointer, byteSize > 0 ? this.builder.allocate(byteSize) : noEvent);
  }

  #free(pointer: string): void {
    const index = this.#live.get(pointer);
    if (index === undefined) throw new Error(`0x${pointer} is freed but was not allocated`);
    this.#live.delete(pointer);
    if (index !== noEvent) this.builder.free(index);
  }
}

/**
 * Reads a log. What is still allocated at its end stays so.
 *
 * @param name The file's name, for errors.
 * @throws {RmmLogError} naming the line that is malformed, or frees what is not allocated.
 */
export function parseRmmLog(text: string, name: string): AllocationEvents {
  const lines = text.split("\n");
  const pairing = new Pairing();
  lines.forEach((untrimmed, index) => {
    const line = untrimmed.trim();
    try {
      if (index === 0) {
        if (line !== header) throw new Error(`expected the header ${header}`);
      } else if (line !== "") {
        pairing.add(parseLine(line));
      }
    } catch (error) {
      throw new RmmLogError(`${name}:${index + 1}: ${messageOf(error)}`);
    }
  });
  return pairing.builder.build();
}

/**
 * Reads a log file, plain or gzipped.
 *
 * @throws {RmmLogError} Also where the file cannot be read.
 */
export async function readRmmLog(path: string): Promise<AllocationEvents> {
  return parseRmmLog(await readText(path), path);
}

async function readText(path: string): Promise<string> {
  try {
    const bytes = await Bun.file(path).bytes();
    const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
    return new TextDecoder().decode(isGzip ? Bun.gunzipSync(bytes) : bytes);
  } catch (error) {
    throw new RmmLogError(`${path}: cannot be read: ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
