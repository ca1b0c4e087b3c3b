// The build makes the page one text (.scripts/page.mjs); this tells the type checker.

declare module "*.html" {
  /** The page, with its script and style in it. */
  const page: string;
  export default page;
  /** What of a Content-Security-Policy allows that script and that style, and no others. */
  export const policy: string;
}
