import type { Model } from "./engine/engine.ts";
import { HttpError } from "./http-error.ts";
import {
  modelConfig,
  modelMetadata,
  modelVersion,
  serverMetadata,
} from "./protocol/model-description.ts";
import type { Tenant, Tenants } from "./tenants.ts";

// What the gateway answers where: KServe's v2 protocol, as far as NVIDIA's clients use it.

/** What the routes lead to. */
export interface Handlers {
  models: ReadonlyMap<string, Model>;
  tenants: Tenants;
  /** Whether new requests are wanted. */
  isReady(): boolean;
  infer(request: Request, model: Model, tenant: Tenant): Promise<Response>;
}

const modelPath = /^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?(?:\/(ready|config|infer))?$/;

/** The path alone. Not by `new URL`, which throws for what some clients send as their host. */
function pathOf(request: Request): string {
  return /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(request.url)![1]!;
}

function checkMethod(request: Request, ...methods: string[]): void {
  if (methods.includes(request.method)) return;
  const allow = methods.join(", ");
  throw new HttpError(405, `the method must be ${allow}`, { allow });
}

/** For health checks, which look at nothing but the status. */
function health(isWell: boolean): Response {
  return new Response(null, { status: isWell ? 200 : 503 });
}

function findModel(models: Handlers["models"], name: string, version = modelVersion): Model {
  const model = models.get(name);
  if (model !== undefined && version === modelVersion) return model;
  throw new HttpError(404, `there is no model ${name}, version ${version}`);
}

function checkTenant(tenants: Tenants, request: Request): Tenant {
  const tenant = tenants.find(request);
  if (tenant !== undefined) return tenant;
  throw new HttpError(401, "a key of a tenant is needed", { "www-authenticate": "Bearer" });
}

/** @throws {HttpError} where nothing is there, or not for this client. */
export async function route(handlers: Handlers, request: Request): Promise<Response> {
  const { models, tenants } = handlers;
  const path = pathOf(request);
  if (path === "/v2/health/live" || path === "/v2/health/ready") {
    checkMethod(request, "GET", "HEAD");
    return health(path.endsWith("live") || handlers.isReady());
  }
  const tenant = checkTenant(tenants, request);
  if (path === "/v2" || path === "/v2/") {
    checkMethod(request, "GET", "HEAD");
    return Response.json(serverMetadata());
  }
  if (path === "/v2/repository/index") {
    checkMethod(request, "POST");
    const state = handlers.isReady() ? "READY" : "UNAVAILABLE";
    const index = [...models.keys()].map((name) => ({ name, version: modelVersion, state }));
    return Response.json(index);
  }
  const [, name, version, what] = modelPath.exec(path) ?? [];
  if (name === undefined) throw new HttpError(404, `there is nothing at ${path.slice(0, 200)}`);
  const model = findModel(models, name, version);
  if (what === "infer") {
    checkMethod(request, "POST");
    return handlers.infer(request, model, tenant);
  }
  checkMethod(request, "GET", "HEAD");
  if (what === "ready") return health(handlers.isReady());
  return Response.json(what === "config" ? modelConfig(model) : modelMetadata(model));
}
