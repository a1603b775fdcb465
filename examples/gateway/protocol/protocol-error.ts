/** The client's request is not what the protocol, or the model, asks for: 400, or 413 for size. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly status: 400 | 413;

  constructor(message: string, status: 400 | 413 = 400) {
    super(message);
    this.status = status;
  }
}
