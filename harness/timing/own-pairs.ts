let instanceCount = 0;

/** The timed loops of pairs.ts, for one contestant alone. */
export async function ownPairs(): Promise<typeof import("./pairs.ts")> {
  return await import(`./pairs.ts?instance=${instanceCount++}`);
}
