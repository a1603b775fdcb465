import type { Socket } from "bun";

const chunksEnd = Buffer.from("0\r\n\r\n");
const sentAtOnceByteSize = 1024 ** 2;

/**
 * Posts a large body and reads an answer of HTTP chunks that has at least as many bytes, all of which are
 * thrown away: what is measured is the server, and neither body is copied here.
 *
 * @param parts The body, piece by piece.
 * @throws {Error} where the answer is not 200, or the connection is closed before its end.
 */
export async function exchange(
  url: URL,
  headers: Readonly<Record<string, string>>,
  parts: readonly Uint8Array[],
): Promise<void> {
  const byteSize = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const lines = Object.entries({ ...headers, host: url.host, "content-length": String(byteSize) });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const toSend = [Buffer.from(`POST ${url.pathname} HTTP/1.1\r\n${head}\r\n`), ...parts];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let sentByteSize = 0;
  let receivedByteSize = 0;
  const send = (socket: Socket) => {
    while (toSend.length > 0) {
      const part = toSend[0]!;
      const written = socket.write(
        part.subarray(sentByteSize, sentByteSize + sentAtOnceByteSize) as Uint8Array<ArrayBuffer>,
      );
      if (written <= 0) return;
      sentByteSize += written;
      if (sentByteSize < part.byteLength) continue;
      toSend.shift();
      sentByteSize = 0;
    }
  };
  const socket = await Bun.connect({
    hostname: url.hostname,
    port: Number(url.port),
    socket: {
      open: send,
      drain: send,
      data(_socket, bytes) {
        if (receivedByteSize === 0 && !bytes.toString("latin1", 0, 12).endsWith("200")) {
          reject(new Error(bytes.toString("latin1", 0, 200)));
        }
        receivedByteSize += bytes.byteLength;
        if (receivedByteSize > byteSize && bytes.subarray(-5).equals(chunksEnd)) resolve();
      },
      close: () => reject(new Error(`closed after ${receivedByteSize} bytes of the answer`)),
      error: (_socket, error) => reject(error),
    },
  });
  try {
    await promise;
  } finally {
    socket.end();
  }
}
