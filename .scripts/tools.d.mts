// Types of the exports of tools.mjs that tests use.

export interface Tool {
  readonly name: string;
  readonly variable: string;
  readonly file: string;
  readonly debian: string;
  readonly why: string;
  readonly tests: readonly string[];
}

export const TOOLS: readonly Tool[];

export function findTool(tool: Tool, libraries?: readonly string[]): string | undefined;

export function byHand(tools: readonly Tool[], system: { id: string; like: string }): string[];

/**
 * Returns the path of a tool that a test needs.
 * @throws Error when it is missing; the message says how to install it
 */
export function toolPath(name: string): string;
