/**
 * What both sides of a bench with many clients agree on. Owns those values; nothing else.
 */

/** One piece of streamed text: a few words. */
export const PIECE = "some more words ";
export const MESSAGE = "A message of a length that people write, neither a word nor a page.";
