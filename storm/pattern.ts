// The bytes that are written in the storm say whose they are, so that bytes in the wrong place can
// be traced to their writer.

/** Whose bytes a pattern is. */
export interface Signature {
  readonly threadIndex: number;
  readonly life: number;
  /** Counts the writes of one life of a thread. */
  readonly serial: number;
}

/** Begins each of the words of 16 bytes that a pattern consists of: mark, writer, serial, place. */
const mark = 0x5354524d;
const wordByteSize = 16;

/** The bytes of one write. */
export function patternOf(signature: Signature, byteSize: number): Uint8Array {
  const { threadIndex, life, serial } = signature;
  const wordCount = Math.ceil(byteSize / wordByteSize);
  const words = new Uint32Array(wordCount * 4);
  for (let i = 0; i < wordCount; i++) {
    words[4 * i] = mark;
    words[4 * i + 1] = threadIndex * 2 ** 16 + life;
    words[4 * i + 2] = serial;
    words[4 * i + 3] = i * wordByteSize;
  }
  return new Uint8Array(words.buffer, 0, byteSize);
}

/** Says whose bytes lie around a place, where they have a pattern at all. */
export function describeBytes(bytes: Uint8Array, at: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shown = [...bytes.subarray(at, at + 16)].map((byte) => byte.toString(16).padStart(2, "0"));
  const hex = shown.join(" ");
  // A word that begins after the place would tell of the bytes behind it.
  for (let offset = at; offset > at - wordByteSize && offset >= 0; offset--) {
    if (offset + wordByteSize > bytes.byteLength) continue;
    if (view.getUint32(offset, true) !== mark) continue;
    const writer = view.getUint32(offset + 4, true);
    const [serial, place] = [view.getUint32(offset + 8, true), view.getUint32(offset + 12, true)];
    return (
      `${hex}, which is byte ${place + at - offset} of write ${serial} of thread ` +
      `${writer >>> 16}, life ${writer & 0xffff}`
    );
  }
  return `${hex}, which is no whole word of a pattern`;
}
