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
