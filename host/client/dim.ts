// Dims an element of a page, or all of it, while its connection is lost.
//
// Invariant: an element has the attribute while at least one of its connections is lost, and no trace of it otherwise.

/** Attribute of an element whose connection is lost, for style sheets of the page. */
const ATTRIBUTE = "data-connection-lost";

/** The default look. Any rule of the page overrides it, because `:where` has no specificity (Selectors 4, 17). */
const RULE = `:where([${ATTRIBUTE}]){opacity:.4;filter:grayscale(1);transition:opacity .3s}`;

/** The part of an Element that is used. */
export interface Dimmable {
  /** Adds an attribute, or removes it. */
  toggleAttribute(name: string, force?: boolean): boolean;
}

/** The part of a page's global object that is used. Other runtimes and old browsers lack parts of it. */
interface Page {
  readonly CSSStyleSheet?: new () => { replaceSync?(text: string): void };
  readonly document?: {
    readonly documentElement: Dimmable;
    adoptedStyleSheets?: readonly object[];
  };
}

/** The number of lost connections of each element. */
const losses = new WeakMap<Dimmable, number>();
let sheet: object | undefined;

/** Gives the page the default look. A constructed style sheet is allowed by any Content-Security-Policy. */
function addSheet({ CSSStyleSheet, document }: Page): void {
  const sheets = document?.adoptedStyleSheets;
  if (!CSSStyleSheet || !document || !sheets) return;
  if (!sheet) {
    const own = new CSSStyleSheet();
    own.replaceSync?.(RULE);
    sheet = own;
  }
  if (!Array.from(sheets).includes(sheet)) document.adoptedStyleSheets = [...sheets, sheet];
}

/**
 * Returns a function to call with true when a connection was lost, and with false when it is back or not needed.
 * @param dim true for the whole page, false for nothing, or an element
 * @returns undefined when `dim` is none of them
 */
export function dimmer(dim: unknown): ((isLost: boolean) => void) | undefined {
  const page = globalThis as Page;
  const target = (dim === true ? page.document?.documentElement : dim) as Dimmable | undefined;
  // A program that is no page has nothing to dim.
  if (dim === false || (dim === true && !target)) return () => undefined;
  if (typeof target?.toggleAttribute !== "function") return undefined;
  let was = false;
  return (isLost) => {
    if (isLost === was) return;
    was = isLost;
    const count = (losses.get(target) ?? 0) + (isLost ? 1 : -1);
    losses.set(target, count);
    addSheet(page);
    target.toggleAttribute(ATTRIBUTE, count > 0);
  };
}
