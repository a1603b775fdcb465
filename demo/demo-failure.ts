/** Something that the demo shows did not turn out as it must. */
export class DemoFailure extends Error {
  override readonly name = "DemoFailure";
}
