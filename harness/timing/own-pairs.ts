let instanceCount = 0;

/** Imports an instance of pairs.ts that nobody else has, for one contestant alone. */
export async function ownPairs(): Promise<typeof import("./pairs.ts")> {
  return await import(`./pairs.ts?instance=${instanceCount++}`);
}
