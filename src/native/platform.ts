interface Report {
  readonly header: { readonly glibcVersionRuntime?: string };
}

/** Whether the C library of this process is glibc, for which the prebuilt libraries are. */
function hasGlibc(): boolean {
  const report = process.report?.getReport() as Report | undefined;
  return report?.header.glibcVersionRuntime !== undefined;
}

/** What native libraries are built for: `linux-x64` and the like, with `-musl` where that is the C library. */
export function platformName(): string {
  return `${process.platform}-${process.arch}${hasGlibc() ? "" : "-musl"}`;
}
