/**
 * Markdown as elements. Owns which token becomes which element, and that nothing else does: raw HTML is shown as text, links
 * go to http, https and mail only, pictures are links. No string ever becomes markup.
 */
import type { Token, Tokens } from "marked";
import type { ComponentChild, VNode } from "preact";
import { useRef } from "preact/hooks";
import { MAX_MARKDOWN, parse, type Parsed } from "../model/markdown.ts";
import { Code } from "./code.tsx";
import { LongText } from "./long-text.tsx";

/** `isGrowing`: more of the text will come. */
export function Markdown({ text, isGrowing = false }: { text: string; isGrowing?: boolean }) {
  const parsed = useRef<Parsed | undefined>(undefined);
  const blocks = useRef(new WeakMap<Token, ComponentChild>());
  if (text.length > MAX_MARKDOWN) return <LongText text={text} />;
  parsed.current = parse(text.replace(/\r\n?/g, "\n"), parsed.current);
  const { tokens } = parsed.current;
  const last = tokens.length - 1;
  return (
    <div class="markdown" dir="auto">
      {tokens.map((token, at) => {
        const isOpen = isGrowing && at === last;
        if (isOpen) return block(token, at, true);
        // The same element again means that Preact does not look into it.
        let made = blocks.current.get(token);
        if (made === undefined) blocks.current.set(token, (made = block(token, at, false)));
        return made;
      })}
    </div>
  );
}

function block(token: Token, key: number, isOpen: boolean): ComponentChild {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "hr":
      return <hr key={key} />;
    case "heading":
      return heading(token as Tokens.Heading, key);
    case "code": {
      const { text, lang } = token as Tokens.Code;
      return <Code key={key} text={text} language={lang?.split(/\s/, 1)[0] ?? ""} isOpen={isOpen} />;
    }
    case "blockquote":
      return <blockquote key={key}>{blocksOf(token)}</blockquote>;
    case "list":
      return list(token as Tokens.List, key);
    case "table":
      return table(token as Tokens.Table, key);
    case "paragraph":
      return (
        <p key={key} dir="auto">
          {inline(token.tokens, token)}
        </p>
      );
    case "text":
      return <span key={key}>{inline(token.tokens, token)}</span>;
    default:
      return (
        <p key={key} class="raw">
          {token.raw}
        </p>
      );
  }
}

function blocksOf(token: Token): ComponentChild[] {
  return ((token as Tokens.Generic).tokens ?? []).map((child, at) => block(child, at, false));
}

/** Those of a message are below the page's own. */
function heading(token: Tokens.Heading, key: number): VNode {
  const Tag = (["h3", "h4", "h5", "h6"] as const)[Math.min(token.depth, 4) - 1]!;
  return (
    <Tag key={key} dir="auto">
      {inline(token.tokens, token)}
    </Tag>
  );
}

function list(token: Tokens.List, key: number): VNode {
  const items = token.items.map((item, at) => (
    <li key={at} dir="auto" class={item.task ? "task" : undefined}>
      {item.task && <input type="checkbox" checked={item.checked ?? false} disabled aria-label="task" />}
      {item.tokens.filter(({ type }) => type !== "checkbox").map((child, n) => block(child, n, false))}
    </li>
  ));
  if (!token.ordered) return <ul key={key}>{items}</ul>;
  return (
    <ol key={key} start={token.start === "" ? 1 : token.start}>
      {items}
    </ol>
  );
}

function table(token: Tokens.Table, key: number): VNode {
  const cell = (each: Tokens.TableCell, Tag: "th" | "td", at: number): VNode => (
    <Tag key={at} class={each.align === null ? undefined : `to-${each.align}`} dir="auto">
      {inline(each.tokens, { raw: each.text })}
    </Tag>
  );
  return (
    <div key={key} class="table" role="region" aria-label="table" tabIndex={0}>
      <table>
        <thead>
          <tr>{token.header.map((each, at) => cell(each, "th", at))}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, n) => (
            <tr key={n}>{row.map((each, at) => cell(each, "td", at))}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inline(tokens: readonly Token[] | undefined, whole: { raw: string }): ComponentChild[] {
  return tokens === undefined ? [whole.raw] : tokens.map((token, at) => span(token, at));
}

function span(token: Token, key: number): ComponentChild {
  const { tokens } = token as Tokens.Generic;
  switch (token.type) {
    case "escape":
      return (token as Tokens.Escape).text;
    case "text":
      return tokens === undefined ? (token as Tokens.Text).text : inline(tokens, token);
    case "strong":
      return <strong key={key}>{inline(tokens, token)}</strong>;
    case "em":
      return <em key={key}>{inline(tokens, token)}</em>;
    case "del":
      return <del key={key}>{inline(tokens, token)}</del>;
    case "codespan":
      return <code key={key}>{(token as Tokens.Codespan).text}</code>;
    case "br":
      return <br key={key} />;
    case "link": {
      const { href } = token as Tokens.Link;
      return link(href, inline(tokens, token), key);
    }
    case "image": {
      const { href, text } = token as Tokens.Image;
      return link(href, [`picture: ${text || href.slice(0, 80)}`], key);
    }
    default:
      return token.raw;
  }
}

function link(href: string, children: ComponentChild[], key: number): ComponentChild {
  if (!isSafe(href)) return <span key={key}>{children}</span>;
  return (
    <a key={key} href={href} target="_blank" rel="noopener noreferrer nofollow" title={href}>
      {children}
    </a>
  );
}

/** Whether a page may send its reader there. */
export function isSafe(href: string): boolean {
  const url = URL.canParse(href) ? new URL(href) : undefined;
  return url !== undefined && /^(?:https?|mailto):$/.test(url.protocol);
}
