/** What the driver's own tool says of a GPU. */
export interface NamedGpu {
  pciBusId: string;
  name: string;
  driver: string;
}

/** Lists every GPU of the machine. Returns `[]` where nvidia-smi is not there, or fails. */
export function namedGpus(): NamedGpu[] {
  if (Bun.which("nvidia-smi") === null) return [];
  const { exitCode, stdout } = Bun.spawnSync(
    ["nvidia-smi", "--query-gpu=pci.bus_id,name,driver_version", "--format=csv,noheader"],
    { timeout: 30_000 },
  );
  if (exitCode !== 0) return [];
  const lines = stdout.toString().trim().split("\n");
  return lines.map((line) => {
    const [pciBusId = "", name = "", driver = ""] = line.split(", ");
    return { pciBusId, name, driver };
  });
}

/** Finds the GPU at a bus address as CUDA writes it, with fewer digits in the domain. */
export function namedGpuAt(named: readonly NamedGpu[], pciBusId: string | null) {
  const end = pciBusId?.toLowerCase();
  const found = named.find((gpu) => end && gpu.pciBusId.toLowerCase().endsWith(end));
  return { name: found?.name ?? "unknown", driver: found?.driver ?? "unknown" };
}
