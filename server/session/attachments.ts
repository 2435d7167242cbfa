/**
 * The files in what a person sends: how many, and how many bytes their data URLs have. Owns these two bounds; the bounds
 * of a payload as a whole are protocol/values.ts's, and nothing here looks into a file.
 */
import type { Content } from "../../protocol/content.ts";
import { ProtocolError } from "../../protocol/errors.ts";

export interface AttachmentLimits {
  /** Files in one input (16). */
  readonly maxAttachments: number;
  /** Bytes of their URLs together, data URLs above all (768 KiB, as much as a payload may have). */
  readonly maxAttachmentBytes: number;
}

export function attachmentLimits(options: Partial<AttachmentLimits>): AttachmentLimits {
  return {
    maxAttachments: (options.maxAttachments ?? 16) || Infinity,
    maxAttachmentBytes: (options.maxAttachmentBytes ?? 768 * 1024) || Infinity,
  };
}

/** Throws ProtocolError `too-large`. */
export function checkAttachments(content: Content, limits: AttachmentLimits): void {
  if (typeof content === "string") return;
  const urls = content.flatMap((part) => (part.type === "file" ? [(part as { url: string }).url] : []));
  const bytes = urls.reduce((sum, url) => sum + Buffer.byteLength(url), 0);
  const over =
    urls.length > limits.maxAttachments
      ? { limit: "maxAttachments", value: limits.maxAttachments, given: urls.length }
      : bytes > limits.maxAttachmentBytes
        ? { limit: "maxAttachmentBytes", value: limits.maxAttachmentBytes, given: bytes }
        : undefined;
  if (over !== undefined)
    throw new ProtocolError("too-large", `content: over ${over.limit}`, { details: over });
}
