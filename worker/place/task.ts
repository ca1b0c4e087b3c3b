// The messages about one request between the worker and a thread of its pool. Types only.

import type { PeerCertificate } from "../../host/handler";
import type { Delivery } from "../../host/shared/request/pieces";
import type { RequestHead } from "../../host/shared/request/request";
import type { Field, Upgrade } from "../../host/shared/request/response";
import type { ErrorData } from "../../host/shared/result";
import type { PiecePort } from "../net/transport";

/** The data that a thread is started with. */
export interface ThreadData {
  /** Bytes of a streamed response that may be in flight. */
  readonly backlog: number;
  /** Statuses that have an error page. */
  readonly pages: readonly number[];
  /** Names of the subprotocols that have modules. */
  readonly protocols: readonly string[];
}

/** A handler module to import, or a request for the handler. */
export type Task =
  | { readonly load: string }
  | {
      /** URL of the handler module. */
      readonly handler: string;
      readonly number: number;
      readonly id: number;
      readonly remoteAddress: string;
      readonly peerCertificate: PeerCertificate | undefined;
      readonly head: RequestHead;
      readonly bytes: Uint8Array;
    };

/** The result of a task. An error beside a response was thrown after it. */
export type Outcome = (
  | { readonly kind: "loaded" }
  /** `request` threw, rejected, or did not respond. */
  | { readonly kind: "failed"; readonly error: ErrorData }
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly fields: Field[];
      readonly body: string | Uint8Array;
      readonly close: boolean;
    }
  | {
      readonly kind: "pass";
      /** Path of the file that a mount responds with. */
      readonly path: string;
      readonly fields: Field[];
      readonly close: boolean;
    }
  | ({ readonly kind: "upgrade" } & Upgrade)
  /** The response was sent in pieces, of which some may be in flight. */
  | { readonly kind: "streamed" }
) & { readonly error?: ErrorData };

/**
 * Notice that a response in pieces begins. The pieces arrive through the port. Bytes that have left, or that are asked
 * for, are reported on it.
 */
export interface Beginning {
  readonly ringcast: "begin";
  readonly number: number;
  readonly status: number;
  readonly fields: Field[];
  readonly close: boolean;
  /** Length of the body in bytes; −1: it is unknown. */
  readonly length: number;
  readonly delivery: Delivery;
  readonly port: PiecePort;
}

/**
 * Messages of a thread other than the results of its tasks. Messages that a handler posts to its parent lack the mark.
 */
export type ThreadNotice =
  | Beginning
  /** An uncaught error that belongs to no task. */
  | { readonly ringcast: "uncaught"; readonly error: ErrorData };

/** A message through the port: a piece, the end, or a break. */
export type Piece = string | Uint8Array | "end" | "break";
