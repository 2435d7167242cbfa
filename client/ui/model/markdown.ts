/**
 * Markdown to tokens, a little at a time: while a text grows only its last blocks are read again. Owns the bounds on what is
 * read as Markdown at all; what is beyond them stays plain text. Makes no HTML.
 */
import { Lexer, type Token } from "marked";

/** Of one text; a longer one is shown as it is. */
export const MAX_MARKDOWN = 128 * 1024;
/** Of one paragraph, heading or cell. */
const MAX_INLINE = 16 * 1024;

export interface Parsed {
  readonly text: string;
  readonly tokens: readonly Token[];
}

/** `before` is what was made of an earlier state of the same text. */
export function parse(text: string, before?: Parsed): Parsed {
  if (before === undefined || !text.startsWith(before.text)) return { text, tokens: lex(text) };
  if (before.text.length === text.length) return before;
  const settled = before.tokens.slice(0, settledCount(before.tokens));
  const length = settled.reduce((sum, { raw }) => sum + raw.length, 0);
  return { text, tokens: [...settled, ...lex(text.slice(length))] };
}

/** All but the last two blocks: more text may continue the last one, or show that it belongs to the one before. */
function settledCount(tokens: readonly Token[]): number {
  let blocks = 0;
  for (let at = tokens.length - 1; at >= 0; at--) {
    if (tokens[at]!.type !== "space" && ++blocks === 2) return at;
  }
  return 0;
}

function lex(text: string): Token[] {
  const lexer = new Lexer({ gfm: true });
  // The lexer makes tabs and line ends its own; lengths must stay those of the text.
  const tokens = lexer.blockTokens(text, []);
  for (const { src, tokens: inline } of lexer.inlineQueue) {
    if (src.length > MAX_INLINE) inline.push({ type: "text", raw: src, text: src });
    else lexer.inlineTokens(src, inline);
  }
  return tokens;
}
