import type { Socket } from "bun";

// HTTP on kept connections, in as few steps as possible: what is measured is the gateway, and not its
// client.

/** An answer. */
export interface HttpAnswer {
  status: number;
  headers: string;
  body: Uint8Array;
}

const chunksEnd = "0\r\n\r\n";

/** What is in HTTP chunks. */
function unchunked(bytes: Buffer): Buffer {
  const pieces: Buffer[] = [];
  let offset = 0;
  for (;;) {
    const begin = bytes.indexOf("\r\n", offset) + 2;
    const byteSize = Number.parseInt(bytes.toString("latin1", offset, begin), 16);
    if (byteSize === 0) return Buffer.concat(pieces);
    pieces.push(bytes.subarray(begin, begin + byteSize));
    offset = begin + byteSize + 2;
  }
}

/** One connection, which has one request at a time. */
class Connection {
  readonly #socket: Socket<undefined>;
  #toSend: Uint8Array = new Uint8Array();
  #received: Buffer[] = [];
  #receivedByteSize = 0;
  /** Bytes of the whole answer: Infinity until its head is there, null where it comes in HTTP chunks. */
  #answerByteSize: number | null = Infinity;
  #answer: PromiseWithResolvers<Buffer> | null = null;

  private constructor(socket: Socket<undefined>) {
    this.#socket = socket;
  }

  static async open(hostname: string, port: number): Promise<Connection> {
    let connection: Connection | null = null;
    const socket = await Bun.connect<undefined>({
      hostname,
      port,
      socket: {
        data: (_socket, bytes) => connection!.#receive(bytes),
        drain: () => connection!.#send(),
        close: () => connection!.#fail(new Error("the connection was closed")),
        error: (_socket, error) => connection!.#fail(error),
      },
    });
    connection = new Connection(socket);
    return connection;
  }

  #fail(error: Error): void {
    this.#answer?.reject(error);
  }

  request(bytes: Uint8Array): Promise<Buffer> {
    this.#answer = Promise.withResolvers();
    this.#toSend = bytes;
    this.#send();
    return this.#answer.promise;
  }

  #send(): void {
    if (this.#toSend.byteLength === 0) return;
    const sent = this.#socket.write(this.#toSend);
    this.#toSend = this.#toSend.subarray(Math.max(0, sent));
  }

  #receive(bytes: Buffer): void {
    this.#received.push(bytes);
    this.#receivedByteSize += bytes.byteLength;
    if (this.#answerByteSize === Infinity) this.#readHead();
    const isWhole =
      this.#answerByteSize === null
        ? bytes.subarray(-chunksEnd.length).toString("latin1") === chunksEnd
        : this.#receivedByteSize >= this.#answerByteSize;
    if (!isWhole) return;
    const whole = Buffer.concat(this.#received);
    this.#received = [];
    this.#receivedByteSize = 0;
    this.#answerByteSize = Infinity;
    this.#answer!.resolve(whole);
  }

  #readHead(): void {
    const begin = Buffer.concat(this.#received);
    const headByteSize = begin.indexOf("\r\n\r\n") + 4;
    if (headByteSize < 4) return;
    const length = /^content-length: (\d+)/im.exec(begin.toString("latin1", 0, headByteSize))?.[1];
    this.#answerByteSize = length === undefined ? null : headByteSize + Number(length);
  }
}

/** As many connections as are needed at once. */
export class Connections {
  readonly #hostname: string;
  readonly #port: number;
  readonly #idle: Connection[] = [];

  /** @param url Where they lead. */
  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#hostname = hostname;
    this.#port = Number(port);
  }

  async post(path: string, headers: Record<string, string>, body: Uint8Array): Promise<HttpAnswer> {
    const lines = Object.entries({ ...headers, host: this.#hostname }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    const head = `POST ${path} HTTP/1.1\r\ncontent-length: ${body.byteLength}\r\n${lines.join("")}\r\n`;
    const connection = this.#idle.pop() ?? (await Connection.open(this.#hostname, this.#port));
    const answer = await connection.request(Buffer.concat([Buffer.from(head), body]));
    const headByteSize = answer.indexOf("\r\n\r\n") + 4;
    const answerHead = answer.toString("latin1", 0, headByteSize);
    if (!/^connection: close/im.test(answerHead)) this.#idle.push(connection);
    const sent = answer.subarray(headByteSize);
    const isChunked = /^transfer-encoding: chunked/im.test(answerHead);
    return {
      status: Number(answerHead.slice(9, 12)),
      headers: answerHead,
      body: isChunked ? unchunked(sent) : sent,
    };
  }
}
