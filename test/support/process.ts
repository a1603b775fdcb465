// Runs a function in a process of its own, for whatever depends on the environment, happens once
// per process, or ends the process.

export interface Exit {
  readonly exitCode: number | null;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Calls `body` with the exports of a module, in a process with this environment added to the
 * test's own. The body's text is what travels, so it sees nothing but its parameter; what it
 * returns is printed as JSON on the last line.
 */
export function spawnBody<Exports>(
  modulePath: string,
  body: (exports: Exports) => unknown,
  environment: Environment,
): Exit {
  const program = `
    import * as exports from ${JSON.stringify(modulePath)};
    const body = ${body};
    const result = await body(exports);
    console.log("\\n" + JSON.stringify(result ?? null));
  `;
  const child = Bun.spawnSync([process.execPath, "-e", program], {
    // Some tests crash the process on purpose; Bun must not report that.
    env: { ...process.env, BUN_ENABLE_CRASH_REPORTING: "0", ...environment },
  });
  return {
    exitCode: child.exitCode,
    signal: child.signalCode?.toString(),
    stdout: child.stdout.toString(),
    stderr: child.stderr.toString(),
  };
}

/** What the body returned, in a process that must have ended well. */
export function resultOf<Result>({ exitCode, stdout, stderr }: Exit): Result {
  if (exitCode !== 0) throw new Error(`the process ended with ${exitCode}:\n${stdout}${stderr}`);
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as Result;
}
