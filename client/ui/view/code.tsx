/**
 * A block of code: its language, a button that copies it, and colours once it is whole. Owns when the highlighter is loaded,
 * which is no part of the first view; until then, and for what it does not know, code is plain.
 */
import type { ComponentChild } from "preact";
import { useEffect, useState } from "preact/hooks";
import { plain, visible } from "../model/format.ts";
import { Icon } from "./icons.tsx";

const MAX_COLOURED = 64 * 1024;
const COPIED_MS = 1500;

export function Code({ text, language, isOpen }: { text: string; language: string; isOpen: boolean }) {
  const [coloured, setColoured] = useState<{ readonly of: string; readonly nodes: ComponentChild }>();
  useEffect(() => {
    if (isOpen || language === "" || text.length > MAX_COLOURED) return undefined;
    let isHere = true;
    import("./highlight.tsx").then(
      ({ highlight }) => {
        const nodes = highlight(visible(text), language);
        if (isHere && nodes !== undefined) setColoured({ of: text, nodes });
      },
      // Without colours then.
      () => undefined,
    );
    return () => {
      isHere = false;
    };
  }, [text, language, isOpen]);
  return (
    <figure class="code">
      <figcaption>
        <span>{plain(language, 24) || "text"}</span>
        <Copy text={text} />
      </figcaption>
      <pre tabIndex={0} dir="ltr">
        <code>{coloured?.of === text ? coloured.nodes : visible(text)}</code>
      </pre>
    </figure>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  };
  return (
    <button type="button" class="quiet small" onClick={() => void copy().catch(() => undefined)}>
      <Icon name={isCopied ? "check" : "copy"} size={14} />
      {isCopied ? "Copied" : label}
    </button>
  );
}
