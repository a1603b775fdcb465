import { expect, test } from "bun:test";
import { LeakGuard } from "../../src/memory/leak-guard.ts";

function guardWithLeaks() {
  const leaks: number[] = [];
  const guard = new LeakGuard<{ id: number }, number>(
    (owner) => owner.id,
    (id) => void leaks.push(id),
  );
  return { guard, leaks };
}

async function collect(isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !isDone(); i++) {
    Bun.gc(true);
    await Bun.sleep(2);
  }
}

function dropMany(guard: LeakGuard<{ id: number }, number>, count: number): void {
  for (let id = 0; id < count; id++) guard.watch({ id });
}

// The guard keeps its newest owners apart: 10 owners are all among those, 1000 are not.
test.each([10, 1000])("%d dropped owners are all noticed", async (count) => {
  const { guard, leaks } = guardWithLeaks();
  dropMany(guard, count);
  await collect(() => leaks.length >= count - 2);
  expect(leaks.length).toBeGreaterThanOrEqual(count - 2); // the collector is conservative
  expect(new Set(leaks).size).toBe(leaks.length);
  guard.watch({ id: -1 }); // a guard that nobody refers to any more would notice nothing
});

test("owners that are released, in whatever order and whenever, are not leaks", async () => {
  const { guard, leaks } = guardWithLeaks();
  for (let round = 0; round < 20; round++) {
    const owners = Array.from({ length: 300 }, (_, id) => {
      const owner = { id };
      return { owner, ticket: guard.watch(owner) };
    });
    if (round % 2 === 0) await Bun.sleep(0);
    if (round % 3 === 0) owners.reverse();
    const late = owners.splice(100, 100);
    for (const { owner, ticket } of owners) guard.release(owner, ticket);
    await Bun.sleep(0);
    for (const { owner, ticket } of late) guard.release(owner, ticket);
  }
  Bun.gc(true);
  await collect(() => leaks.length > 0);
  expect(leaks).toEqual([]);
});
