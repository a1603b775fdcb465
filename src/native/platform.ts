interface Report {
  readonly header: { readonly glibcVersionRuntime?: string };
}

/** Whether the C library of this process is glibc, which the prebuilt libraries need. */
function hasGlibc(): boolean {
  const report = process.report?.getReport() as Report | undefined;
  return report?.header.glibcVersionRuntime !== undefined;
}

/** The platform that libraries are built for: `linux-x64`, `linux-arm64-musl` and the like. */
export function platformName(): string {
  return `${process.platform}-${process.arch}${hasGlibc() ? "" : "-musl"}`;
}

/** The oldest Bun whose bun:ffi the package can use; earlier ones crash in it. */
const oldestBun = [1, 4] as const;

function isOlderThanNeeded(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map((part) => parseInt(part, 10));
  return major < oldestBun[0] || (major === oldestBun[0] && minor < oldestBun[1]);
}

/** What is the matter with where the package runs, before it opens a library; `null` if nothing. */
export function unsupportedPlatform(): string | null {
  const version = process.versions["bun"];
  if (version === undefined) return "bun-cuda-memory needs Bun";
  if (isOlderThanNeeded(version)) {
    return `bun-cuda-memory needs Bun ${oldestBun.join(".")} or later, this is ${version}`;
  }
  if (process.platform !== "linux") {
    return `bun-cuda-memory needs Linux, not ${process.platform}`;
  }
  return null;
}
