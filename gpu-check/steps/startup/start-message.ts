/** What a process that times its start says at its end. */
export interface StartMessage {
  kind: "start";
  /** By what was done. */
  milliseconds: Record<string, number>;
}
