/**
 * A file system with no room left: a file that takes all there is, to the last byte. Owns how it is filled; whoever fills
 * it removes the file again.
 */
import { appendFileSync } from "node:fs";

export function fillUp(file: string): void {
  for (let size = 2 ** 20; size > 0; size = Math.floor(size / 2)) {
    for (;;) {
      try {
        appendFileSync(file, Buffer.alloc(size));
      } catch {
        break;
      }
    }
  }
}
