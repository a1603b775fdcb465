import type { RoundPlan } from "../round.ts";
import type { StormThread } from "../thread.ts";

/** One kind of thing that a thread does at random. */
export interface Operation {
  /** What leaves it out, in `STORM_WITHOUT`. */
  readonly name: string;
  /** How often it is done, beside the others. */
  readonly weight: number;
  /** Whether it may be done in a round; by default in all. */
  readonly isPossible?: (round: RoundPlan) => boolean;
  /** Draws what exactly is done, notes it, does it and checks what comes of it. */
  readonly run: (thread: StormThread) => void | Promise<void>;
}
