/**
 * Makes room for a struct of doubles, given by the places of its members. The room is a buffer of
 * its own, because the storage of a small typed array moves when the JIT compiles what uses it.
 */
export function newStruct(members: Readonly<Record<string, number>>): Float64Array {
  return new Float64Array(
    new ArrayBuffer(Object.keys(members).length * Float64Array.BYTES_PER_ELEMENT),
  );
}
