interface Report {
  readonly header: { readonly glibcVersionRuntime?: string };
}

/** Whether the C library of this process is glibc, for which the prebuilt libraries are. */
function hasGlibc(): boolean {
  return (
    (process.report?.getReport() as Report | undefined)?.header.glibcVersionRuntime !== undefined
  );
}

/** What a native library is built for, such as `linux-x64`; with `-musl` where that is the C library. */
export function platformName(): string {
  const { platform, arch } = process;
  return platform === "linux" && !hasGlibc() ? `${platform}-${arch}-musl` : `${platform}-${arch}`;
}
