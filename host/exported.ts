// The types that each entry point of a server exports: those of handlers, options and the server. A declaration that
// TypeScript infers for a user's module may name any of them, and can do so only if the entry point that the module
// imports exports them. This file holds types only.

export type {
  HostTlsOptions,
  ListenerAddress,
  TlsContext,
  TlsOptions,
} from "../worker/net/transport";
export type * from "./handler";
export type { TableOptions } from "./options/members";
export type { Plan, PlanRow } from "./options/plan";
export type { Size } from "./options/size";
export type * from "./options/types";
export type { Messages } from "./send/messages";
export type { PublisherHandle, TransferredPort } from "./send/publisher";
export type { Server } from "./server";
export type { CloseRow } from "./shared/close";
