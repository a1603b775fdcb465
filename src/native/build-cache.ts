import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

// The folder in which libraries are kept that were built on this machine. What lies at a known path
// may have been put there by somebody else, and what was written may have been cut off.

const userId = process.getuid?.() ?? 0;

/** Whether nobody but this user and root can have put it there, or can change it. */
function isTrusted(path: string): boolean {
  const { uid, mode } = lstatSync(path); // a link is one that everybody may write to
  return (uid === userId || uid === 0) && (mode & 0o022) === 0;
}

/**
 * Makes a folder that nobody else can write to, unless it is there, and returns it. Where somebody
 * else has it, or can write to it, that is a folder beside it with the user's number.
 *
 * @throws {Error} Where neither can be had.
 */
export function privateFolder(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  for (const candidate of [path, `${path}-${userId}`]) {
    if (!existsSync(candidate)) mkdirSync(candidate, { mode: 0o700, recursive: true });
    if (isTrusted(candidate)) return candidate;
  }
  throw new Error(`other users can write to ${path}, or own it: remove it, or make it your own`);
}

/** The number of bytes of a SHA-256 digest. */
const digestByteSize = 32;

function digestOf(bytes: Uint8Array): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(bytes).digest();
}

/** Writes what is still in the system's memory to the disk, of a file or of a folder's entries. */
function synchronize(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Appends its digest to a library, which the loader does not look at, and puts it onto the disk. */
export function seal(path: string): void {
  const bytes = readFileSync(path);
  writeFileSync(path, Buffer.concat([bytes, digestOf(bytes)]));
  chmodSync(path, 0o755); // the compiler asked the umask, which may let a group write
  synchronize(path);
  synchronize(dirname(path));
}

/** Whether a library is there that was sealed by this user or by root, and is whole. */
export function isSealed(path: string): boolean {
  try {
    if (!isTrusted(dirname(path)) || !isTrusted(path)) return false;
    const bytes = readFileSync(path);
    const end = bytes.byteLength - digestByteSize;
    return end > 0 && Buffer.compare(digestOf(bytes.subarray(0, end)), bytes.subarray(end)) === 0;
  } catch {
    return false; // it is not there, or cannot be read
  }
}

/**
 * Gives the folder of a sealed library its common name. Whatever had the name is taken away, unless
 * that has a sealed library too, which then stays: all threads of a process are to load one file.
 */
export function publish(ownFolder: string, folder: string, fileName: string): void {
  if (existsSync(folder) && !isSealed(`${folder}/${fileName}`)) {
    const discarded = `${ownFolder}.discarded`;
    renameSync(folder, discarded);
    rmSync(discarded, { recursive: true, force: true });
  }
  renameSync(ownFolder, folder);
  synchronize(dirname(folder));
}
