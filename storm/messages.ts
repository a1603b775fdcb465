import type { Message } from "../harness/child/messages.ts";

/** What the process of the storm tells its parent. */
export type StormMessage =
  | ({
      kind: "failure";
      threadIndex: number;
      expected: string;
      seen: string;
      stack: string;
    } & Message)
  | ({ kind: "round"; round: number } & Message);
