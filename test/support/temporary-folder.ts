import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Calls `use` with a new folder, which is gone afterwards. */
export function inTemporaryFolder(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "bun-cuda-memory-test-"));
  try {
    use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
