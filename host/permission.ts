// Reads what this process may read without a prompt. Deno prompts the user for a permission that was neither granted
// nor denied, and a server must not prompt when it starts. On other runtimes a read that is not allowed throws.

/** The part of Deno's API that queries a permission without a prompt. */
interface Permissions {
  querySync(what: PermissionName): { readonly state: string };
}

type PermissionName =
  | { readonly name: "env"; readonly variable: string }
  | { readonly name: "read"; readonly path: string };

function isGranted(what: PermissionName): boolean {
  const { Deno: runtime } = globalThis as { Deno?: { readonly permissions?: Permissions } };
  const permissions = runtime?.permissions;
  return permissions === undefined || permissions.querySync(what).state === "granted";
}

/** Returns an environment variable; undefined when it is not set or may not be read. */
export function variableOf(name: string): string | undefined {
  return isGranted({ name: "env", variable: name }) ? process.env[name] : undefined;
}

/** Returns true when a file can be read without a prompt. */
export function mayRead(path: string): boolean {
  return isGranted({ name: "read", path });
}
