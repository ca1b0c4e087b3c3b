// The bundler imports .html files as text (esbuild's loader "text"); this tells the type checker.

declare module "*.html" {
  const text: string;
  export default text;
}
