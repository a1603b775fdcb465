import { CudartSimulator, type SimulatedFunction } from "bun-cuda-memory/simulator";
import { cudartSymbols } from "../../src/native/cudart-symbols.ts";
import type { RoundPlan } from "../round.ts";
import type { Operation } from "./operation.ts";

/** Every function of CUDA that the package calls and that can fail. */
const functions = Object.entries(cudartSymbols)
  .filter(([, { returns }]) => returns === "i32")
  .map(([name]) => name as SimulatedFunction)
  // Its result is the error that it clears.
  .filter((name) => name !== "cudaGetLastError");

/** Errors after which a GPU goes on as before. */
const errors = [1, 2, 46, 304, 400, 999];

/** Functions that give something back, which is lost where CUDA refuses. */
const givesBack = /Destroy|Free/;

const isPossible = (round: RoundPlan) => round.hasFaults;

export const failCall: Operation = {
  name: "fail-call",
  weight: 1.5,
  isPossible,
  run: (thread) => {
    const { random, board } = thread;
    const name = random.pick(functions);
    const nth = random.between(1, 8);
    const error = random.pick(errors);
    thread.begin(`call ${nth} of ${name} fails with ${error}`);
    if (givesBack.test(name)) board.countDestroyFault();
    CudartSimulator.failCall({ function: name, nth, error });
    thread.end("ok");
  },
};

/** A copy on a stream that fails after the call. */
export const failOperation: Operation = {
  name: "fail-operation",
  weight: 0.7,
  isPossible,
  run: (thread) => {
    const nth = thread.random.between(1, 8);
    const error = thread.random.pick(errors);
    thread.begin(`operation ${nth} fails with ${error}`);
    CudartSimulator.failOperation({ nth, error });
    thread.end("ok");
  },
};

/** Makes GPUs slow, or fast again. */
export const delay: Operation = {
  name: "delay",
  weight: 0.5,
  run: (thread) => {
    const { random } = thread;
    const operationNs = random.pick([0, 0, 1000, 50_000, 500_000, 3_000_000]);
    const nsPerByte = random.pick([0, 0, 0.1, 1]);
    thread.begin(`operations take ${operationNs} ns and ${nsPerByte} ns a byte`);
    CudartSimulator.setDelay({ operationNs, nsPerByte });
    thread.end("ok");
  },
};
