// What the gateway answers to requests, good and bad.

import { describe, expect, test } from "bun:test";
import { MemoryAccount } from "../../../src/index.ts";
import { expectSame } from "../../support/expectations.ts";
import { resetAfterEach } from "../../support/runtime.ts";
import { patternBytes } from "../../support/values.ts";
import { binary, eventually, GatewayUnderTest, readAnswer } from "./gateway-under-test.ts";

resetAfterEach();

const MiB = 1024 ** 2;

const bytesOf = (...numbers: number[]) => new Uint8Array(Int32Array.from(numbers).buffer);

/** A request of the model that adds and subtracts, its second input in JSON. */
const sums = {
  id: "7",
  inputs: [
    binary("INPUT0", "INT32", [1, 3], 12),
    { name: "INPUT1", datatype: "INT32", shape: [1, 3], data: [[10, 20, -(2 ** 31)]] },
  ],
};

describe("an inference", () => {
  test("takes and gives tensors as JSON and as bytes", async () => {
    await using under = new GatewayUnderTest();
    const outputs = [{ name: "OUTPUT1", parameters: { binary_data: true } }, { name: "OUTPUT0" }];
    const answer = await under.infer("simple", { ...sums, outputs }, [bytesOf(1, 2, -1)]);
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({
      model_name: "simple",
      model_version: "1",
      id: "7",
      outputs: [
        binary("OUTPUT1", "INT32", [1, 3], 12),
        { name: "OUTPUT0", datatype: "INT32", shape: [1, 3], data: [11, 22, 2 ** 31 - 1] },
      ],
    });
    expect(answer.bytes["OUTPUT1"]).toEqual(bytesOf(-9, -18, 2 ** 31 - 1));
    expect(answer.headers.get("content-type")).toBe("application/octet-stream");
  });

  test("may be JSON alone", async () => {
    await using under = new GatewayUnderTest();
    const inputs = ["INPUT1", "INPUT0"].map((name, index) => ({
      name,
      datatype: "INT32",
      shape: [2, 1],
      data: [index, 5],
    }));
    const body = JSON.stringify({ inputs });
    const response = await under.request("POST", "v2/models/simple/infer", { body });
    expect(response.headers.get("content-type")).toBe("application/json");
    const { json } = await readAnswer(response);
    expect(json.outputs.map(({ data }) => data)).toEqual([
      [1, 10],
      [1, 0],
    ]);
  });

  // The whole body at once; streamed in; streamed out too; a JSON that comes in pieces.
  test.each([0, 1, 1000, 100_000, 3 * MiB + 7])("gives %d bytes back", async (byteSize) => {
    await using under = new GatewayUnderTest();
    const bytes = patternBytes(byteSize);
    const answer = await under.identity(bytes);
    expect(answer.status).toBe(200);
    expectSame(answer.bytes["OUTPUT0"]!, bytes);
    expect(under.usedByteSizes()).toEqual({ alpha: 0, beta: 0 });
  });

  test("of texts has them as they were", async () => {
    await using under = new GatewayUnderTest();
    const input = { name: "INPUT0", datatype: "BYTES", shape: [1, 3], data: ["a", "", "ü"] };
    const { json } = await under.infer("simple_identity", { inputs: [input] });
    expect(json.outputs).toEqual([{ ...input, name: "OUTPUT0" }]);
  });

  // As many bytes as three texts have at least: two of 4 and 0 bytes, one without an end, or three.
  test.each([
    [[4, 0, 0], "expected 3 elements, got 2"],
    [[0, 0, 1], "has no end"],
    [[0, 0, -1], "has no end"],
  ])("of texts with lengths %p is refused", async (lengths, says) => {
    await using under = new GatewayUnderTest();
    const inputs = [binary("INPUT0", "BYTES", [1, 3], 12)];
    const { status, json } = await under.infer("simple_identity", { inputs }, [
      bytesOf(...lengths),
    ]);
    expect(status).toBe(400);
    expect(json.error).toContain(says);
    expect(under.usedByteSizes()).toEqual({ alpha: 0, beta: 0 });
  });

  test("of 40 at once has each its own answer", async () => {
    await using under = new GatewayUnderTest();
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, number) =>
        under.infer(
          "simple",
          {
            inputs: [
              binary("INPUT0", "INT32", [1 + (number % 3), 2], 8 * (1 + (number % 3))),
              binary("INPUT1", "INT32", [1 + (number % 3), 2], 8 * (1 + (number % 3))),
            ],
            parameters: { binary_data_output: true },
          },
          [
            bytesOf(...Array<number>(2 + 2 * (number % 3)).fill(number)),
            bytesOf(...Array<number>(2 + 2 * (number % 3)).fill(1000)),
          ],
        ),
      ),
    );
    for (const [number, { status, bytes }] of answers.entries()) {
      expect(status).toBe(200);
      const count = 2 + 2 * (number % 3);
      expect(bytes["OUTPUT0"]).toEqual(bytesOf(...Array<number>(count).fill(number + 1000)));
      expect(bytes["OUTPUT1"]).toEqual(bytesOf(...Array<number>(count).fill(number - 1000)));
    }
    expect(under.usedByteSizes()).toEqual({ alpha: 0, beta: 0 });
  });
});

describe("what is told of the server and its models", () => {
  test("is what NVIDIA's clients ask for", async () => {
    await using under = new GatewayUnderTest();
    const json = async (path: string, method = "GET") =>
      (await (await under.request(method, path)).json()) as object;
    expect(await json("v2")).toMatchObject({ extensions: ["binary_tensor_data"] });
    const tensor = (name: string) => ({ name, datatype: "INT32", shape: [-1, -1] });
    for (const path of ["v2/models/simple", "v2/models/simple/versions/1"]) {
      expect(await json(path)).toMatchObject({
        name: "simple",
        versions: ["1"],
        inputs: [tensor("INPUT0"), tensor("INPUT1")],
        outputs: [tensor("OUTPUT0"), tensor("OUTPUT1")],
      });
    }
    expect(await json("v2/models/simple/config")).toMatchObject({
      max_batch_size: 64,
      input: [{ name: "INPUT0", data_type: "TYPE_INT32", dims: [-1] }, { name: "INPUT1" }],
    });
    expect(await json("v2/models/simple_identity/config")).toMatchObject({
      max_batch_size: 0,
      input: [{ data_type: "TYPE_STRING", dims: [-1, -1] }],
    });
    expect(await json("v2/repository/index", "POST")).toContainEqual({
      name: "identity",
      version: "1",
      state: "READY",
    });
  });

  test("is whether it lives and is ready, to everybody, also without a key", async () => {
    await using under = new GatewayUnderTest();
    for (const path of ["v2/health/live", "v2/health/ready"]) {
      for (const method of ["GET", "HEAD"]) {
        const response = await fetch(under.gateway.url + path, { method });
        expect([response.status, await response.text()]).toEqual([200, ""]);
      }
    }
    expect((await under.request("GET", "v2/models/simple/ready")).status).toBe(200);
    expect((await under.request("GET", "v2/models/simple/versions/1/ready")).status).toBe(200);
  });
});

describe("a request is refused", () => {
  test.each([undefined, "Bearer wrong-key-of-nobody", "Bearer ", "Basic dTpw", "the-key-of-alpha"])(
    "with 401, and has no account, for a key of %p",
    async (authorization) => {
      await using under = new GatewayUnderTest();
      const before = MemoryAccount.all().map(({ name }) => name);
      const headers = new Headers();
      if (authorization !== undefined) headers.set("authorization", authorization);
      for (const path of ["v2", "v2/models/identity", "v2/nothing", "v2/models/identity/infer"]) {
        const response = await fetch(under.gateway.url + path, { headers });
        expect(response.status).toBe(401);
        expect(response.headers.get("www-authenticate")).toBe("Bearer");
      }
      expect(MemoryAccount.all().map(({ name }) => name)).toEqual(before);
    },
  );

  test.each([
    "",
    "v1",
    "v2/models",
    "v2/models/",
    "v2/models/none",
    "v2/models/simple/versions/2",
    "v2/models/simple/infer/x",
    "v2/health",
    "v2/models/..%2f",
    "v2/models/__proto__",
  ])("with 404 for a path of %p", async (path) => {
    await using under = new GatewayUnderTest();
    const response = await under.request("GET", path);
    expect(response.status).toBe(404);
    expect(await response.json()).toHaveProperty("error");
  });

  test("with 405 for its method", async () => {
    await using under = new GatewayUnderTest();
    for (const [method, path, allow] of [
      ["GET", "v2/models/simple/infer", "POST"],
      ["POST", "v2/models/simple", "GET, HEAD"],
      ["POST", "v2/health/live", "GET, HEAD"],
      ["GET", "v2/repository/index", "POST"],
    ] as const) {
      const response = await under.request(method, path);
      expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
    }
  });

  test("with 415 for a compressed body", async () => {
    await using under = new GatewayUnderTest();
    for (const encoding of ["gzip", "deflate", "br", "gzip, identity"]) {
      const { status } = await under.infer("simple", sums, [bytesOf(1, 2, 3)], {
        headers: { "content-encoding": encoding },
      });
      expect(status).toBe(415);
    }
    const headers = { "content-encoding": "identity" };
    const { status } = await under.infer("simple", sums, [bytesOf(1, 2, 3)], { headers });
    expect(status).toBe(200);
  });

  test("with 411 for a body of unknown size", async () => {
    await using under = new GatewayUnderTest();
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(patternBytes(2 * MiB));
        controller.close();
      },
    });
    const response = await under.request("POST", "v2/models/identity/infer", { body });
    expect(response.status).toBe(411);
  });

  test("with 413 for a size beyond the gateway's, before its body is read", async () => {
    await using under = new GatewayUnderTest({ requestByteSizeMax: 2000 });
    expect((await under.identity(patternBytes(1000))).status).toBe(200);
    const { status, json } = await under.identity(patternBytes(2000));
    expect(status).toBe(413);
    expect(json.error).toContain("2000 of a request");
    using client = await under.connect();
    client.send("POST /v2/models/identity/infer HTTP/1.1\nContent-Length: 1099511627776");
    expect(await client.statusLine()).toContain("413");
    await eventually(() => client.isClosed);
  });

  test("with 413 for too much JSON", async () => {
    await using under = new GatewayUnderTest({ jsonByteSizeMax: 1000 });
    expect((await under.identity(patternBytes(2000))).status).toBe(200);
    const { status, json } = await under.infer("identity", " ".repeat(1001));
    expect(status).toBe(413);
    expect(json.error).toContain("JSON");
  });

  test("with 413 for a size that its tenant can never have", async () => {
    await using under = new GatewayUnderTest();
    const { status, json } = await under.identity(patternBytes(9 * MiB), { tenant: "beta" });
    expect(status).toBe(413);
    expect(json.error).toContain("beta");
  });

  test.each(["x", "-1", "1e3", "99999", "1.5"])(
    "with 400 for an Inference-Header-Content-Length of %s",
    async (length) => {
      await using under = new GatewayUnderTest();
      const headers = { "inference-header-content-length": length };
      const { status, json } = await under.infer("simple", sums, [bytesOf(1, 2, 3)], { headers });
      expect(status).toBe(400);
      expect(json.error).toContain("Inference-Header-Content-Length");
    },
  );

  test.each<[says: string, json: object]>([
    ["does not begin with JSON", []],
    ["needs the input INPUT1", { inputs: [sums.inputs[0]] }],
    [
      "takes no inputs but INPUT0, INPUT1",
      { inputs: [...sums.inputs, { ...sums.inputs[1], name: "X" }] },
    ],
    ["must be INT32 [-1,-1]", { inputs: [binary("INPUT0", "UINT32", [1, 3], 12), sums.inputs[1]] }],
    ["must be INT32 [-1,-1]", { inputs: [binary("INPUT0", "INT32", [3], 12), sums.inputs[1]] }],
    [
      "must have the same shape",
      { inputs: [binary("INPUT0", "INT32", [3, 1], 12), sums.inputs[1]] },
    ],
    ["has no output OUTPUT2", { ...sums, outputs: [{ name: "OUTPUT2" }] }],
    ["behind the JSON come 12", { inputs: [sums.inputs[1]] }],
  ])("with 400 where it %s", async (says, json) => {
    await using under = new GatewayUnderTest();
    const isText = Array.isArray(json);
    const { status, json: answer } = await under.infer("simple", isText ? "{" : json, [
      bytesOf(1, 2, 3),
    ]);
    expect(status).toBe(400);
    expect(answer.error).toContain(says);
    expect(under.usedByteSizes()).toEqual({ alpha: 0, beta: 0 });
  });

  test("with 400 for more rows than the model takes", async () => {
    await using under = new GatewayUnderTest();
    const inputs = ["INPUT0", "INPUT1"].map((name) => binary(name, "INT32", [65, 1], 260));
    const { status, json } = await under.infer("simple", { inputs }, [new Uint8Array(520)]);
    expect(status).toBe(400);
    expect(json.error).toContain("more rows than the 64");
  });

  test("with 400 where JSON cannot hold its answer", async () => {
    await using under = new GatewayUnderTest();
    const byteSize = MiB + 1;
    const inputs = [binary("INPUT0", "UINT8", [1, byteSize], byteSize)];
    const { status, json } = await under.infer("identity", { inputs }, [patternBytes(byteSize)]);
    expect(status).toBe(400);
    expect(json.error).toContain("ask for binary data");
    expect(under.usedByteSizes()).toEqual({ alpha: 0, beta: 0 });
  });

  test("but another on the same connection is served, where its body is small", async () => {
    await using under = new GatewayUnderTest();
    using client = await under.connect();
    client.send(
      "POST /v2/models/none/infer HTTP/1.1\nContent-Length: 100000",
      new Uint8Array(100_000),
    );
    expect(await client.statusLine()).toContain("404");
    client.send("GET /v2/health/live HTTP/1.1");
    await eventually(() => client.received.includes("HTTP/1.1 200"));
  });

  test("but has no host that could be understood", async () => {
    await using under = new GatewayUnderTest();
    using client = await under.connect();
    client.send("GET /v2/health/live HTTP/1.1\nHost: [bad");
    expect(await client.statusLine()).toMatch(/ (200|400) /);
    expect((await under.request("GET", "v2")).status).toBe(200);
  });
});
