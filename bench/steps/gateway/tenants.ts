const MiB = 1024 ** 2;

/** The tenants of the gateway under load: one that is measured, and one that takes all it can get. */
export const tenants = {
  modest: { name: "modest", key: "the-key-of-the-modest", limitByteSize: 64 * MiB },
  bulk: { name: "bulk", key: "the-key-of-large-bodies", limitByteSize: 8 * 1024 * MiB },
  greedy: { name: "greedy", key: "the-key-of-the-greedy", limitByteSize: 1 * MiB },
} as const;
