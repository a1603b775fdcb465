// Where memory lies, in one number: its kind, and four times the GPU's ordinal. The native library
// has it so, too.

/** The largest ordinal that fits. No GPU has one that is near it. */
export const deviceIdMax = 2 ** 50;

/** The place of memory of a kind, on a GPU up to {@link deviceIdMax} or, with 0, of the host. */
export function placeOf(memoryType: number, deviceId: number): number {
  return memoryType + 4 * deviceId;
}

/** The native library's number of the kind of memory. */
export function memoryTypeOf(place: number): number {
  return place & 3; // of a number of any size; a remainder of such numbers takes 20 ns
}

/** The GPU's ordinal; 0 for host memory. */
export function deviceIdOf(place: number): number {
  return Math.floor(place / 4);
}
