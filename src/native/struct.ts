/** Makes room for a struct of doubles, given by the places of its members. */
export function newStruct(members: Readonly<Record<string, number>>): Float64Array {
  return newDoubles(Object.keys(members).length);
}

/**
 * Makes room for so many doubles. The room is a buffer of its own, because the storage of a small typed
 * array moves when the JIT compiles what uses it.
 */
export function newDoubles(count: number): Float64Array {
  return new Float64Array(new ArrayBuffer(count * Float64Array.BYTES_PER_ELEMENT));
}
