// Plain English in comments: finds the comments of a source, and the phrases in them that a newcomer stumbles over.
//
// Invariant: each row of REFUSED has an example, and test/unit/style.test.ts sees it refused. Code in backticks is not
// judged.

import ts from "typescript";

/** A phrase that comments must not use. */
interface Refused {
  readonly pattern: RegExp;
  /** Advice for the author. */
  readonly instead: string;
  /** A comment that the pattern refuses. */
  readonly example: string;
}

/** A comment without its markers. Paragraphs and tags begin on a line of their own. */
interface Comment {
  /** Line of the source, from 1. */
  readonly line: number;
  readonly text: string;
  /** Whether it documents a function. */
  readonly isOfFunction: boolean;
}

/** The first word of a function's comment: a verb in the third person. Nouns that end like one are excluded. */
const VERB = /^(?!Address|Bytes|Class|Octets|Ms|Is|Does)[A-Z][a-z-]*s\b/;
const FUNCTION = /^(?:export\s+)?(?:default\s+)?(?:async\s+)?function\b/;

const NOUN = "name the noun: client, connection, reader, record, request";

export const REFUSED: readonly Refused[] = [
  {
    // At the start of a clause, where it has no noun to refer to.
    pattern: /(?:^|[.:;!?(] )(?:who|what)\b|, what\b/im,
    instead: NOUN,
    example: "Closes the socket. Who is not read cannot answer.",
  },
  {
    pattern: /\bthose (?:that|who|whose|which)\b|^those (?:of|in|on|with|for|from)\b/i,
    instead: NOUN,
    example: "The count is that of those that have not ended.",
  },
  {
    pattern: /\bwho(?:m|se)?(?:so)?ever\b/i,
    instead: NOUN,
    example: "1: the consumer sleeps; whoever changes it to 0 rings the doorbell.",
  },
  {
    pattern: /\b(?:no|any|some|every)body\b/i,
    instead: `${NOUN}; "unused" instead of "nobody's"`,
    example: "Block that the write reads from and that nobody else owns.",
  },
  {
    pattern: /\btold\b/i,
    instead: '"notified of", "reported"',
    example: "The end is told once, as BodyEnd.",
  },
  {
    pattern: /\b(?:hears?|heard)\b/i,
    instead: '"receives"',
    example: "The client hears of it by a Close frame.",
  },
  {
    pattern: /\b(?:be|is|are|not) to be had\b|\b(?:can(?:not)?|may|could) be had\b/i,
    instead: '"is available"',
    example: "Wakes the first waiter when a buffer may be had again.",
  },
  {
    pattern: /\bfor want of\b/i,
    instead: '"because there is no"',
    example: "Bytes that were given back for want of a buffer.",
  },
  {
    pattern: /\b(?:comes?|came) of\b/i,
    instead: '"results from"',
    example: "A reset that comes of bytes left unread.",
  },
  {
    pattern: /\b(?:brings?|brought) about\b/i,
    instead: '"causes"',
    example: "A full pool brings about a refusal.",
  },
  {
    pattern: /\b(?:stands?|stood)\b/i,
    instead: '"is"',
    example: "The open stage stands behind the committed bytes.",
  },
  {
    pattern: /\bbehind (?:it|them)\b/i,
    instead: '"after" ("behind" is for lag)',
    example: "Nothing that comes behind it is parsed.",
  },
  {
    pattern: /\b(?:is|are|was|were) out\b(?! of)|\b(?:goes?|going|went) out\b/i,
    instead: '"was emitted", "is pending", "is sent"',
    example: "A request is out; nothing is parsed until it is answered.",
  },
  {
    pattern: /\bat hand\b/i,
    instead: '"current"',
    example: "Adds a row for the piece at hand.",
  },
  {
    pattern: /\bso many (?:bytes|ms|frames|more|messages)\b/i,
    instead: 'the parameter: "`bytes` more"',
    example: "Returns the time that a rate takes for so many bytes.",
  },
  {
    pattern: /\bheld against\b/i,
    instead: '"counts against"',
    example: "When the client is too slow; 0: nothing is held against it.",
  },
  {
    pattern: /\bowed\b/i,
    instead: '"is pending", "follows"',
    example: "Drain is owed when the pool has room.",
  },
  {
    pattern: /\banew\b/i,
    instead: '"again"',
    example: "Fills the table anew.",
  },
  {
    pattern: /\b(?:sees?|saw) to it\b/i,
    instead: '"ensures"',
    example: "Sees to it that the deadline is looked at.",
  },
  {
    pattern: /\b(?:is|are) through\b/i,
    instead: '"has ended", "has completed", "has released"',
    example: "The transport is through with the memory.",
  },
  {
    pattern: /\bgo(?:es)? on\b/i,
    instead: '"continues", "persists", "resumes"',
    example: "The connection goes on after the response.",
  },
  {
    pattern: /\btells? of\b/i,
    instead: '"reports", "lists"',
    example: "The log tells of upgrades that failed.",
  },
  {
    pattern: /\blets? go of\b/i,
    instead: '"releases"',
    example: "The host lets go of the socket.",
  },
];

/** Returns a comment without its markers, a line for each paragraph and each tag. Code in backticks is removed. */
function plainText(raw: string): string {
  return raw
    .split("\n")
    .map((line) => line.replace(/^\s*(?:\/\/+|\/\*+|\*+(?!\/))? ?|\s*\*+\/\s*$/g, "").trim())
    .join("\n")
    .replace(/^```[\s\S]*?^```/gm, "``")
    .replace(/`[^`]*`/g, "``")
    .replace(/\n(?!\n|[@(]|$)(?<!\n\n)/g, " ")
    .trim();
}

/** Returns the comments between two tokens. Line comments on consecutive lines are one comment. */
function commentsBetween(source: ts.SourceFile, from: number, to: number): Comment[] {
  const trivia = source.text.slice(from, to);
  const found: { at: number; end: number; raw: string }[] = [];
  for (const { 0: raw, index } of trivia.matchAll(/\/\/.*|\/\*[\s\S]*?\*\//g)) {
    const last = found.at(-1);
    const isTrailing = last && from > 0 && !trivia.slice(0, last.at).includes("\n");
    const goesOn = last && raw.startsWith("//") && last.raw.startsWith("//") && !isTrailing;
    if (goesOn && /^\r?\n[ \t]*$/.test(trivia.slice(last.end, index))) {
      last.raw += `\n${raw}`;
      last.end = index + raw.length;
    } else {
      found.push({ at: index, end: index + raw.length, raw });
    }
  }
  const isFunction = FUNCTION.test(source.text.slice(to, to + 60));
  return found.map((comment) => ({
    line: source.getLineAndCharacterOfPosition(from + comment.at).line + 1,
    text: plainText(comment.raw),
    isOfFunction: isFunction && comment === found.at(-1) && comment.raw.startsWith("/**"),
  }));
}

/** Returns all comments of a source, in their order. Strings and regular expressions have none. */
export function commentsOf(name: string, text: string): Comment[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  const found: Comment[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isJSDoc(node)) return;
    const children = node.getChildren(source);
    for (const child of children) visit(child);
    if (children.length === 0)
      found.push(...commentsBetween(source, node.getFullStart(), node.getStart(source, false)));
  };
  visit(source);
  return found;
}

/** Returns a line for each phrase in a text that is refused. @param at the text's place */
function phrasesIn(at: string, text: string): string[] {
  return REFUSED.flatMap(({ pattern, instead }) => {
    const phrase = pattern.exec(text)?.[0].replace(/^[.:;!?(,]? /, "");
    return phrase === undefined ? [] : [`${at}: "${phrase}": write ${instead}`];
  });
}

/** Returns a line for each fault in the comments of a source: its place, the phrase, and the advice. */
export function refusedIn(name: string, text: string): string[] {
  return commentsOf(name, text).flatMap((comment) => {
    const at = `${name}:${comment.line}`;
    const lines = phrasesIn(at, comment.text);
    const [word = ""] = comment.text.split(/\s/, 1);
    if (comment.isOfFunction && !VERB.test(comment.text))
      lines.push(`${at}: "${word}": begin a function's comment with a verb ("Returns …")`);
    return lines;
  });
}

/** Returns the names of a source's tests: texts that a statement hands to a call, with a function after them. */
export function testNamesOf(name: string, text: string): Omit<Comment, "isOfFunction">[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  const found: Omit<Comment, "isOfFunction">[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isExpressionStatement(node.parent)) {
      const [first, ...others] = node.arguments;
      const isText = first && (ts.isStringLiteralLike(first) || ts.isTemplateExpression(first));
      if (isText && others.some((other) => ts.isFunctionLike(other))) {
        const line = source.getLineAndCharacterOfPosition(first.getStart(source)).line + 1;
        const raw = first.getText(source).slice(1, -1);
        // The parts of a template's expressions, and code in backticks, are not judged.
        found.push({ line, text: raw.replace(/\$\{[^}]*\}|\\?`[^`]*`/g, "…") });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Returns a line for each refused phrase in the names of a source's tests. */
export function refusedInNames(name: string, text: string): string[] {
  return testNamesOf(name, text).flatMap((test) => phrasesIn(`${name}:${test.line}`, test.text));
}

/** Returns a line for each refused phrase in a page of Markdown, by paragraph. Code is not judged. */
export function refusedInPage(name: string, markdown: string): string[] {
  // Fences keep their lines, so that places are right.
  const prose = markdown
    .replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ""))
    .replace(/`[^`]*`/g, (code) => code.replace(/[^\n]/g, "").padStart(2, "`"));
  const found: string[] = [];
  for (const { 0: text, index } of prose.matchAll(/\S(?:.|\n(?!\s*(?:\n|[*|-] |\|)))*/g)) {
    const line = prose.slice(0, index).split("\n").length;
    found.push(...phrasesIn(`${name}:${line}`, text.replace(/\s*\n\s*/g, " ")));
  }
  return found;
}
