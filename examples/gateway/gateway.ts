import { httpErrorOf } from "./http-error.ts";
import { Inference, type InferenceLimits } from "./inference.ts";
import { discardBody } from "./request-body.ts";
import { route } from "./routes.ts";
import type { Scheduler } from "./scheduler.ts";
import { Tenants, type TenantOptions } from "./tenants.ts";

export interface GatewayOptions extends Partial<InferenceLimits> {
  tenants: readonly TenantOptions[];
  /** Default 0: any free port. */
  port?: number;
  /** Default `"127.0.0.1"`: this machine only. */
  hostname?: string;
  /** Whether other threads may listen on the same port: new connections are spread over them. */
  reusePort?: boolean;
  /** A client that neither sends nor takes anything for so long is disconnected. Default 30. */
  idleTimeoutSeconds?: number;
}

const defaults: InferenceLimits = {
  requestByteSizeMax: 1024 ** 3,
  jsonByteSizeMax: 1024 ** 2,
  waitMilliseconds: 1000,
  waitingCountMax: 256,
  sharedByteSizePerMillisecond: 32 * 1024,
};

/** A gateway that runs. Disposing of it is {@link stop} without any delay. */
export class Gateway implements AsyncDisposable {
  readonly #scheduler: Scheduler;
  readonly #tenants: Tenants;
  readonly #inference: Inference;
  readonly #server: Bun.Server<undefined>;
  readonly #pending = new Set<Promise<Response>>();
  #isStopping = false;

  /** The memory managers and the scheduler must have been made, and must outlive the gateway. */
  constructor(scheduler: Scheduler, options: GatewayOptions) {
    this.#scheduler = scheduler;
    this.#tenants = new Tenants(options.tenants);
    this.#inference = new Inference(scheduler, { ...defaults, ...options });
    this.#server = Bun.serve({
      port: options.port ?? 0,
      hostname: options.hostname ?? "127.0.0.1",
      reusePort: options.reusePort ?? false,
      // The gateway's own limit is the one that counts: with Bun's a client would get a bare 413.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      // Whoever stalls keeps memory, if only that of his tenant.
      idleTimeout: options.idleTimeoutSeconds ?? 30,
      development: false,
      fetch: (request) => this.#track(this.#answer(request)),
    });
  }

  /** Where it listens, ending with a slash. */
  get url(): string {
    return this.#server.url.href;
  }

  /** Whether new requests are wanted: what `/v2/health/ready` tells. */
  isReady(): boolean {
    return !this.#isStopping && this.#scheduler.isReady();
  }

  #track(response: Promise<Response>): Promise<Response> {
    this.#pending.add(response);
    return response.finally(() => this.#pending.delete(response));
  }

  /** Every error becomes an answer; none gets out. */
  async #answer(request: Request): Promise<Response> {
    try {
      return await route(
        {
          models: this.#scheduler.models,
          tenants: this.#tenants,
          isReady: () => this.isReady(),
          infer: (inferRequest, model, tenant) =>
            this.#inference.answer(inferRequest, model, tenant),
        },
        request,
      );
    } catch (error) {
      if (request.signal.aborted) return new Response(null, { status: 499 }); // nobody reads it
      const { status, message, headers } = httpErrorOf(error);
      const isReusable = await discardBody(request);
      return Response.json(
        { error: message },
        { status, headers: { ...headers, ...(!isReusable && { connection: "close" }) } },
      );
    }
  }

  /**
   * Takes no new connections, and lets the requests that it has finish.
   *
   * @param graceMilliseconds After that long, connections are cut.
   */
  async stop(graceMilliseconds = 0): Promise<void> {
    this.#isStopping = true;
    const isDone = this.#server.stop(false);
    const { promise: isLate, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, graceMilliseconds);
    await Promise.race([isDone, isLate]);
    clearTimeout(timer);
    await this.#server.stop(true);
    await Promise.allSettled(this.#pending);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
