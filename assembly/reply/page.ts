// Error pages, the embedder's bodies of refusals. The embedder holds the bytes; the engine knows their lengths alone.
//
// Invariant: a page is queued as a shared body that begins with the last fields of its head, so a refusal takes one
// block of the reply pool more with a page than without one, whatever the page's length.

import { PAGE_FIRST, PAGE_LAST } from "../abi";

/** For each status: bytes of the fields with the empty line after them, and of fields and page together; 0: no page. */
const PAGES = memory.data((PAGE_LAST - PAGE_FIRST + 1) * 8, 4);

/**
 * Sets the error page of a status, for all refusals from now on.
 * @param fieldsLength bytes of its fields and of the empty line after them
 * @param length bytes of fields and page
 * @returns 1, or 0 for a status that has no page, or lengths that contradict each other
 */
export function page(status: u32, fieldsLength: u32, length: u32): u32 {
  if (status < PAGE_FIRST || status > PAGE_LAST || fieldsLength == 0) return 0;
  if (fieldsLength > length || length > 0x7fffffff) return 0;
  const at = PAGES + (((status - PAGE_FIRST) as usize) << 3);
  store<u32>(at, fieldsLength);
  store<u32>(at, length, 4);
  return 1;
}

/** Returns the bytes of a status's page that follow the engine's fields; 0: it has none. */
export function pageBytes(status: u32, isHead: bool): u32 {
  if (status < PAGE_FIRST || status > PAGE_LAST) return 0;
  return load<u32>(PAGES + (((status - PAGE_FIRST) as usize) << 3) + (isHead ? 0 : 4));
}
