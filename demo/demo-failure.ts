import { ExpectedError } from "../harness/run/errors.ts";

/** Something that the demo shows did not turn out as it must. */
export class DemoFailure extends ExpectedError {
  override readonly name = "DemoFailure";
}
