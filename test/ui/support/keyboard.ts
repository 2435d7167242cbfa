/**
 * A person who has only a keyboard: goes from one thing that can be reached to the next. Owns how the next is found, and
 * fails where it never comes.
 */
import type { Page } from "./browser.ts";

const MAX_STEPS = 60;

/** What has the focus, by its label and its text. */
export function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement as HTMLInputElement | null;
    const label = element?.labels?.[0]?.textContent ?? "";
    return `${element?.getAttribute("aria-label") ?? ""} ${label} ${element?.textContent ?? ""}`.trim();
  });
}

/** Presses `key` until what has the focus is named so. */
export async function reach(page: Page, name: RegExp, key = "Tab"): Promise<void> {
  for (let steps = 0; steps < MAX_STEPS; steps++) {
    await page.keyboard.press(key);
    if (name.test(await focused(page))) return;
  }
  throw new Error(`the keyboard does not reach ${name}`);
}
