import { CString, dlopen, type Pointer, ptr } from "bun:ffi";
import { existsSync } from "node:fs";
import { join } from "node:path";

// NVIDIA's compiler of kernels as a library, which CUDA's toolkit brings.

const symbols = {
  nvrtcCreateProgram: { args: ["ptr", "ptr", "ptr", "i32", "ptr", "ptr"], returns: "i32" },
  nvrtcCompileProgram: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  nvrtcGetProgramLogSize: { args: ["ptr", "ptr"], returns: "i32" },
  nvrtcGetProgramLog: { args: ["ptr", "ptr"], returns: "i32" },
  nvrtcGetCUBINSize: { args: ["ptr", "ptr"], returns: "i32" },
  nvrtcGetCUBIN: { args: ["ptr", "ptr"], returns: "i32" },
  nvrtcDestroyProgram: { args: ["ptr"], returns: "i32" },
  nvrtcGetErrorString: { args: ["i32"], returns: "ptr" },
} as const;

/** Absolute, because a name alone would also be looked for in the current folder. */
function candidates(): string[] {
  const home = process.env["CUDA_HOME"] ?? process.env["CUDA_PATH"] ?? "/usr/local/cuda";
  const folders = [
    ...(process.env["LD_LIBRARY_PATH"] ?? "").split(":").filter((folder) => folder.startsWith("/")),
    join(home, "lib64"),
    "/usr/lib64",
    `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
  ];
  const names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];
  return folders.flatMap((folder) => names.map((name) => join(folder, name)));
}

function openNvrtc() {
  const path = candidates().find(existsSync);
  if (path === undefined) throw new Error("no libnvrtc of a CUDA toolkit is there");
  return dlopen(path, symbols).symbols;
}

type Nvrtc = ReturnType<typeof openNvrtc>;

const cString = (text: string) => Buffer.from(`${text}\0`);

function check(nvrtc: Nvrtc, name: string, result: number): void {
  if (result === 0) return;
  throw new Error(`${name}: ${new CString(nvrtc.nvrtcGetErrorString(result)!).toString()}`);
}

/** What a pair of functions gives, the first of which tells its size. */
function bytesOf(
  nvrtc: Nvrtc,
  program: Pointer,
  what: "ProgramLog" | "CUBIN",
): Uint8Array<ArrayBuffer> {
  const size = new BigUint64Array(new ArrayBuffer(8));
  check(nvrtc, `nvrtcGet${what}Size`, nvrtc[`nvrtcGet${what}Size`](program, size));
  const bytes = new Uint8Array(new ArrayBuffer(Number(size[0])));
  check(nvrtc, `nvrtcGet${what}`, nvrtc[`nvrtcGet${what}`](program, bytes));
  return bytes;
}

/**
 * The code that a GPU of this architecture (`sm_90`) runs.
 *
 * @throws {Error} where there is no compiler, or the source is not accepted, with what it says.
 */
export function compileKernels(source: string, architecture: string): Uint8Array<ArrayBuffer> {
  const nvrtc = openNvrtc();
  const handle = new BigUint64Array(new ArrayBuffer(8));
  const text = cString(source);
  const name = cString("kernels.cu");
  const created = nvrtc.nvrtcCreateProgram(handle, text, name, 0, null, null);
  check(nvrtc, "nvrtcCreateProgram", created);
  const program = Number(handle[0]) as Pointer;
  try {
    const option = cString(`--gpu-architecture=${architecture}`);
    const options = BigUint64Array.of(BigInt(ptr(option)));
    const result = nvrtc.nvrtcCompileProgram(program, options.length, options);
    if (result !== 0) {
      const log = Buffer.from(bytesOf(nvrtc, program, "ProgramLog")).toString();
      throw new Error(`nvrtcCompileProgram: ${log.replace(/\0$/, "").trim()}`);
    }
    return bytesOf(nvrtc, program, "CUBIN");
  } finally {
    nvrtc.nvrtcDestroyProgram(handle);
  }
}
