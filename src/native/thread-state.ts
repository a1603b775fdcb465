import { packageVersion } from "./version.ts";

/**
 * All copies of the package of one version in a thread find each other's states by this key: the
 * module before a hot reload and after it, the sources beside the built files, copies in the folders
 * of several packages.
 */
const key = Symbol.for(`bun-cuda-memory ${packageVersion}`);

/** The states of this thread by their names, which lie on the global object. */
function statesOfThread(): Map<string, unknown> {
  const holder = globalThis as { [key]?: Map<string, unknown> };
  if (holder[key] === undefined) {
    Object.defineProperty(globalThis, key, { value: new Map<string, unknown>() });
  }
  return holder[key]!;
}

/**
 * Something that a thread has one of and that lives as long as the thread does, also where the
 * module that made it is loaded again: what must be kept alive, above all.
 *
 * @param name Names the state among all of the package.
 * @param make Is called where the thread has no such state yet.
 */
export function threadState<State>(name: string, make: () => State): State {
  const states = statesOfThread();
  if (!states.has(name)) states.set(name, make());
  return states.get(name) as State;
}
