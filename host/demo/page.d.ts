// Declares the page's module for the type checker. The build makes the page one text (.scripts/page.mjs).

declare module "*.html" {
  /** The page, with its script and style inline. */
  const page: string;
  export default page;
  /** The part of a Content-Security-Policy that allows this script and this style, and no others. */
  export const policy: string;
}
