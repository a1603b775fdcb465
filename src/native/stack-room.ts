/** So many calls of this function take more of the stack than what a transfer begins with. */
const callCount = 48;

/**
 * Fails now where the stack has little room, rather than in the middle of what follows, which takes
 * things that it must be able to give back.
 *
 * @throws {RangeError} as the runtime does where the stack is full.
 */
export function checkStackRoom(remainingCount = callCount): number {
  return remainingCount === 0 ? 0 : 1 + checkStackRoom(remainingCount - 1);
}
