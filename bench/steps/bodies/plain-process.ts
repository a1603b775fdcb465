import { requests, tell } from "../../../harness/child/messages.ts";

// The least that a server can do with a body: it streams into one buffer, and out of it again.

export type PlainAnswer = { kind: "ready"; url: string };

const chunkByteSize = 256 * 1024;

interface DirectController {
  write(chunk: Uint8Array): number | Promise<number>;
  close(): void;
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  development: false,
  async fetch(request) {
    const buffer = new Uint8Array(Number(request.headers.get("content-length")));
    let end = 0;
    for await (const chunk of request.body!) {
      buffer.set(chunk, end);
      end += chunk.byteLength;
    }
    const answer = {
      type: "direct",
      async pull(controller: DirectController) {
        for (let offset = 0; offset < end; offset += chunkByteSize) {
          await controller.write(buffer.subarray(offset, offset + chunkByteSize));
        }
        controller.close();
      },
    };
    return new Response(
      new ReadableStream(answer as unknown as Bun.DirectUnderlyingSource<Uint8Array>),
    );
  },
});
tell<PlainAnswer>({ kind: "ready", url: server.url.href });
for await (const _request of requests<never>());
process.exit();
