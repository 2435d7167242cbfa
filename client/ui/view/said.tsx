/**
 * What somebody sent: text and files. Owns how a file is shown: a picture that came with the message itself as a picture,
 * anything else by its name.
 */
import type { Content, FilePart, MessagePart } from "../../index.ts";
import { bytes, plain } from "../model/format.ts";
import { Icon } from "./icons.tsx";
import { isSafe, Markdown } from "./markdown.tsx";

export function Said({ content }: { content: Content | readonly MessagePart[] }) {
  if (typeof content === "string") return <Markdown text={content} />;
  return (
    <>
      {content.map((part, at) =>
        part.type === "text" ? (
          <Markdown key={at} text={part.text} />
        ) : part.type === "file" ? (
          <File key={at} part={part} />
        ) : null,
      )}
    </>
  );
}

/** Pictures that cannot carry scripts, and that nobody else hears of when they are shown. */
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif);base64,/;

export function File({ part }: { part: FilePart }) {
  const name = plain(part.filename ?? part.mediaType, 80);
  if (PICTURE.test(part.url)) {
    return (
      <figure class="picture">
        <img src={part.url} alt={name} />
        <figcaption>{name}</figcaption>
      </figure>
    );
  }
  const isData = part.url.startsWith("data:");
  const size = isData ? bytes((part.url.length - part.url.indexOf(",")) * 0.75) : "";
  const label = (
    <>
      <Icon name="clip" size={15} /> <bdi>{name}</bdi> <span class="faint">{size}</span>
    </>
  );
  if (!isData && !isSafe(part.url)) return <span class="file">{label}</span>;
  // A download, never a page of its own: a file may be HTML.
  return (
    <a class="file" href={part.url} download={name} rel="noopener noreferrer">
      {label}
    </a>
  );
}
