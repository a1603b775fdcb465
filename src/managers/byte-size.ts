const unitByteSizes: Readonly<Record<string, number>> = {
  "": 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
  KB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
  TB: 1000 ** 4,
};

/**
 * Reads a text such as `4096`, `64MiB` or `1GB` as a number of bytes. Returns `null` for any other
 * text, and for more than 2^53 - 1 bytes.
 */
export function parseByteSize(text: string): number | null {
  const match = /^(\d+)([A-Za-z]*)$/.exec(text);
  const unitByteSize = match && unitByteSizes[match[2]!];
  if (!unitByteSize) return null;
  const byteSize = Number(match[1]) * unitByteSize;
  return Number.isSafeInteger(byteSize) ? byteSize : null;
}
