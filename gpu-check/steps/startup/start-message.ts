/** What a process that times its start says at its end. */
export interface StartMessage {
  kind: "start";
  /** The time of each part, by what was done. */
  milliseconds: Record<string, number>;
}
