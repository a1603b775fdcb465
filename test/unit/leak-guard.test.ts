import { expect, test } from "bun:test";
import { LeakGuard } from "../../src/memory/leak-guard.ts";

function guardWithPromoted() {
  const promoted: number[] = [];
  const guard = new LeakGuard<{ id: number }>(({ id }) => void promoted.push(id));
  return { guard, promoted };
}

// The guard keeps its newest owners apart: 10 owners are all among those, 1000 are not.
test.each([10, 1000])("%d owners that outlive their job are all promoted", async (count) => {
  const { guard, promoted } = guardWithPromoted();
  for (let id = 0; id < count; id++) guard.watch({ id }, guard.newTicket());
  await Bun.sleep(0);
  expect(promoted.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, id) => id));
});

test("owners that are released, in whatever order and whenever, are promoted or not", async () => {
  const { guard, promoted } = guardWithPromoted();
  for (let round = 0; round < 20; round++) {
    promoted.length = 0;
    const released = new Set<number>();
    const owners = Array.from({ length: 300 }, (_, id) => {
      const owner = { id };
      const ticket = guard.newTicket();
      guard.watch(owner, ticket);
      return { owner, ticket };
    });
    if (round % 2 === 0) await Bun.sleep(0);
    if (round % 3 === 0) owners.reverse();
    const late = owners.splice(100, 100);
    for (const { owner, ticket } of owners) {
      if (guard.release(owner, ticket)) released.add(owner.id);
    }
    await Bun.sleep(0);
    for (const { owner, ticket } of late) {
      expect(guard.release(owner, ticket)).toBe(false);
      released.delete(owner.id);
    }
    // Each was either released in time or promoted.
    expect(promoted.length + released.size).toBe(300);
    expect(promoted.some((id) => released.has(id))).toBe(false);
  }
});
