import { MemoryAccount } from "bun-cuda-memory";

/** Who may use the gateway, as it is configured. */
export interface TenantOptions {
  name: string;
  /** What its requests have behind `Authorization: Bearer`. */
  key: string;
  /** The most memory that its requests may have together, in bytes. */
  limitByteSize: number;
}

export interface Tenant {
  name: string;
  account: MemoryAccount;
}

const keyLengthMin = 16;

function digestOf(key: string): string {
  return new Bun.CryptoHasher("sha256").update(key).digest("base64");
}

/** The tenants by their keys. Only those that are configured have an account. */
export class Tenants {
  /** By digest: how long a key is looked for says nothing of how much of it is right. */
  readonly #byDigest = new Map<string, Tenant>();

  constructor(tenants: readonly TenantOptions[]) {
    for (const { name, key, limitByteSize } of tenants) {
      const account = MemoryAccount.of(name);
      account.limitByteSize = limitByteSize;
      this.#byDigest.set(digestOf(key), { name, account });
    }
  }

  /** Whose request it is; `undefined` for a key that nobody has. */
  find(request: Request): Tenant | undefined {
    const key = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    return key === undefined ? undefined : this.#byDigest.get(digestOf(key));
  }
}

function checkTenant(value: unknown): TenantOptions {
  const { name, key, limitByteSize } = (value ?? {}) as Partial<TenantOptions>;
  if (typeof name !== "string" || !/^[\w.-]{1,64}$/.test(name)) {
    throw new Error('a tenant\'s "name" has 1 to 64 letters, digits, dots, dashes and underscores');
  }
  if (typeof key !== "string" || !/^\S+$/.test(key) || key.length < keyLengthMin) {
    throw new Error(`the "key" of ${name} must have ${keyLengthMin} characters, and no space`);
  }
  if (!Number.isSafeInteger(limitByteSize) || limitByteSize! <= 0) {
    throw new Error(`the "limitByteSize" of ${name} must be a whole number of bytes`);
  }
  return { name, key, limitByteSize: limitByteSize! };
}

/** Reads the tenants from a JSON file, an array. Keys do not belong on a command line. */
export async function readTenants(path: string): Promise<TenantOptions[]> {
  const values: unknown = await Bun.file(path).json();
  if (!Array.isArray(values) || values.length === 0)
    throw new Error("expected an array of tenants");
  const tenants = values.map(checkTenant);
  for (const property of ["name", "key"] as const) {
    const isUnique = new Set(tenants.map((tenant) => tenant[property])).size === tenants.length;
    if (!isUnique) throw new Error(`two tenants have the same ${property}`);
  }
  return tenants;
}
