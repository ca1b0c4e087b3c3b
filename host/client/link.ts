// One connection of `ringcast/client`, whatever it is made of, and the events that it reports.

/** Data of a message: text or bytes. */
export type Data = string | ArrayBuffer | ArrayBufferView;

/** How a connection ended. When it never opened, the code is 1006. */
export interface Ending {
  /** The close code (RFC 6455 7.4). */
  readonly code: number;
  /** The reason that the server gave. */
  readonly reason: string;
  /** The status of the response, where it was no event stream. Only with `events`. */
  readonly status?: number;
}

/** A connection, or an attempt to make one. */
export interface Link {
  readonly isOpen: boolean;
  /** Sends a message. It is called only while the connection is open. */
  send(data: Data): void;
  /** Gives the connection up. */
  close(code?: number, reason?: string): void;
}

/** Receives the events of a connection. */
export interface LinkUser {
  /** @param numbered true when messages have positions */
  opened(numbered: boolean): void;
  /** @param position undefined: it is for this client alone @param event the name of its event */
  message(data: string | ArrayBuffer, position?: string, event?: string): void;
  /** A message of the server's own: "hello", "live", "gap" or "close". @param text its JSON */
  control(name: string, text: string, position?: string): void;
  /** The server asks for `ms` without another attempt. */
  retry(ms: number): void;
  lost(ending: Ending): void;
}

/** The code of an ending without a Close frame. */
export const UNCLEAN = 1006;

export const now = (): number => performance.now();
