// Error pages. The engine sends those of its own refusals; those of responses are chosen here.
//
// Invariant: a page's bytes exist once, whatever the number of clients that it is sent to.

import type { ErrorPage } from "../../host/options/site/pages";
import { decodeFields } from "../../host/shared/message/wire";
import type { Field } from "../../host/shared/request/response";
import { type Fields, toBytes } from "../engine/engine";

/** Fields that describe a body. A response with one of them says that its body is empty on purpose. */
const DESCRIBING = /^content-(?:type|encoding)$/i;

/** An error page, ready to be sent. */
interface Page {
  readonly type: Field;
  /** The page, a part of `whole`. */
  readonly body: Uint8Array;
  /** Its fields, an empty line, and the page. */
  readonly whole: Uint8Array;
}

function pageOf({ type, body }: ErrorPage): Page {
  const fields = toBytes(`Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`);
  const whole = new Uint8Array(fields.length + body.length);
  whole.set(fields);
  whole.set(body, fields.length);
  return { type: ["Content-Type", type], body: whole.subarray(fields.length), whole };
}

export class Pages {
  readonly #pages = new Map<number, Page>();

  constructor(pages: readonly ErrorPage[]) {
    for (const page of pages) this.#pages.set(page.status, pageOf(page));
  }

  /** Adds the pages of another, in place of those for the same statuses. */
  add(pages: Pages): void {
    for (const [status, page] of pages.#pages) this.#pages.set(status, page);
  }

  /** Calls `set` with each page: its status, its bytes with their fields in front, the bytes of the fields. */
  each(set: (status: number, whole: Uint8Array, fieldsLength: number) => void): void {
    for (const [status, { whole, body }] of this.#pages)
      set(status, whole, whole.length - body.length);
  }

  has(status: number): boolean {
    return this.#pages.has(status);
  }

  /** Returns a status's page with its fields in front; undefined: it has none. */
  whole(status: number): Uint8Array | undefined {
    return this.#pages.get(status)?.whole;
  }

  /**
   * Returns the page for a response without a body, and the response's fields with the page's type.
   * @returns undefined when the status has no page, or a field describes the body
   */
  instead(
    status: number,
    fields: Fields,
  ): { readonly fields: Fields; readonly type: Field; readonly body: Uint8Array } | undefined {
    const page = this.#pages.get(status);
    if (!page) return undefined;
    const list = fields instanceof Uint8Array ? decodeFields(fields) : fields;
    if (list.some(([name]) => DESCRIBING.test(name))) return undefined;
    return { fields: [...list, page.type], type: page.type, body: page.body };
  }
}
