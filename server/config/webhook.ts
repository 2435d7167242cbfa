/**
 * The shape of a webhook in the settings. Owns what an address and a key must be, in words that never repeat the key.
 */
import { z } from "zod";

/** 24 to 64 bytes in base64, as Standard Webhooks has them. */
const SECRET = /^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/;

export const webhook = z.strictObject({
  url: z.string().refine(isHttp, "an http:// or https:// URL without user, password and fragment"),
  secret: z.string().regex(SECRET, "whsec_ and 24 to 64 random bytes in base64"),
  events: z
    .array(z.enum(["request-opened"]))
    .min(1)
    .optional(),
});

function isHttp(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  if (!["http:", "https:"].includes(url.protocol)) return false;
  return url.username === "" && url.password === "" && url.hash === "";
}
