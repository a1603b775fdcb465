/** What waits, in the order of arrival of each owner, the owners taking turns. */
export class FairQueue<Item extends { readonly owner: string }> {
  /** Whose turn it is comes first. No owner without items is kept. */
  readonly #byOwner = new Map<string, Item[]>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: Item): void {
    const items = this.#byOwner.get(item.owner);
    if (items === undefined) this.#byOwner.set(item.owner, [item]);
    else items.push(item);
    this.#length++;
  }

  /** The next item, if it `fits`; the owner's next turn is after everybody else's. */
  shift(fits: (item: Item) => boolean = () => true): Item | undefined {
    for (const [owner, items] of this.#byOwner) {
      if (!fits(items[0]!)) continue;
      const item = items.shift()!;
      this.#byOwner.delete(owner);
      if (items.length > 0) this.#byOwner.set(owner, items);
      this.#length--;
      return item;
    }
    return undefined;
  }
}
