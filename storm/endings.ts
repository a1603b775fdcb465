import type { RoundPlan } from "./round.ts";
import type { Random } from "./random.ts";
import type { StormThread } from "./thread.ts";

/** What a Worker throws that is to end by an error. */
export const endedOnPurpose = "ended on purpose";

/** How a thread's life ends. */
export const endings = {
  /** It gives back all that it has. */
  tidy: async (thread: StormThread): Promise<void> => {
    thread.begin("give everything back");
    await thread.settle(0);
    for (const stream of thread.streams.all) thread.synchronize(stream);
    for (const held of [...thread.memories.all, ...thread.guests]) thread.free(held);
    for (const view of thread.views.all) view.check();
    for (const { stream } of thread.streams.all) {
      thread.attempt(thread.cudaCodes, [], () => stream[Symbol.dispose]());
    }
    thread.end("ok");
  },
  /** It ends with all that it holds, and what is under way. */
  abandon: (thread: StormThread): void => {
    thread.begin("end with everything that is held");
    thread.isAbandoned = true;
  },
  throw: (thread: StormThread): void => {
    thread.begin("throw");
    throw new Error(endedOnPurpose);
  },
  /** It goes on until it is terminated, wherever it is then. */
  terminate: (thread: StormThread): void => {
    const afterMilliseconds = thread.random.pick([0, 0, 1, 5]);
    thread.begin(`ask to be terminated after ${afterMilliseconds} ms`);
    thread.post({ kind: "terminate", afterMilliseconds });
    thread.isDigestClosed = true;
  },
} as const;

export type EndingName = keyof typeof endings;

export const endingNames = Object.keys(endings) as EndingName[];

/** Draws how a life ends. */
export function drawEnding(random: Random, { without }: RoundPlan): EndingName {
  const allowed = endingNames.filter((name) => name === "tidy" || !without.includes(name));
  return random.pick(allowed);
}
