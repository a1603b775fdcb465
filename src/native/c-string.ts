/** Makes a C string, to be passed as a pointer. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
