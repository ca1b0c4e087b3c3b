// What the worker and a thread of its pool say to each other about one request. Types only.

import type { PeerCertificate } from "../../host/handler";
import type { RequestHead } from "../../host/shared/request/request";
import type { Field, Upgrade } from "../../host/shared/request/response";
import type { Told } from "../../host/shared/result";
import type { PiecePort } from "../net/transport";

/** What a thread is started with. */
export interface ThreadData {
  /** Bytes of an answer's pieces that may be under way. */
  readonly backlog: number;
}

/** A handler module to import, or a request for one. */
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

/** What became of a task; an error beside an answer was thrown behind it. */
export type Outcome = (
  | { readonly kind: "loaded" }
  /** `request` threw, rejected, or did not answer. */
  | { readonly kind: "failed"; readonly error: Told }
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly fields: Field[];
      readonly body: string | Uint8Array;
      /** To HEAD: the length of what GET would get. */
      readonly length?: number;
      readonly close: boolean;
    }
  | ({ readonly kind: "upgrade" } & Upgrade)
  /** It came, or still comes, in pieces. */
  | { readonly kind: "streamed" }
) & { readonly error?: Told };

/** A thread begins an answer in pieces: they come through the port, bytes that have left go back. */
export interface Beginning {
  readonly ringcast: "begin";
  readonly number: number;
  readonly status: number;
  readonly fields: Field[];
  readonly close: boolean;
  readonly port: PiecePort;
}

/** What a thread says beside the results of its tasks. What a handler posts to its parent has no such mark. */
export type ThreadNotice =
  | Beginning
  /** An error that nobody caught, and that belongs to no task. */
  | { readonly ringcast: "uncaught"; readonly error: Told };

/** What comes through the port: a piece, or the end. */
export type Piece = string | Uint8Array | "end" | "break";
