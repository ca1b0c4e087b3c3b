// What this process may look at without its user being asked. Deno asks where a permission was neither given nor
// refused, and a server's start is not the time for it; elsewhere what is not allowed throws.

/** Deno's way to ask about a permission without asking for it. */
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

/** A variable of the environment; undefined when it is not set, or not to be looked at. */
export function variableOf(name: string): string | undefined {
  return isGranted({ name: "env", variable: name }) ? process.env[name] : undefined;
}

/** True when reading a file asks nobody. */
export function mayRead(path: string): boolean {
  return isGranted({ name: "read", path });
}
