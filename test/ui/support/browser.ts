/**
 * A real Chromium for tests of the page: one process a test file, a fresh profile for each person. Owns what every page of a
 * test is watched for (violations of its policy, errors of its scripts) and where screenshots go; never a server.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { repositoryRoot } from "../../support/root.ts";
import { findTool } from "../../support/tools.ts";

export type { Page } from "playwright-core";

export interface Person {
  readonly page: Page;
  readonly context: BrowserContext;
  /** What the page's policy kept from happening. */
  readonly violations: string[];
  /** What its scripts threw or complained of. */
  readonly errors: string[];
}

export interface PersonOptions {
  readonly width?: number;
  readonly height?: number;
  readonly colours?: "light" | "dark";
  /** Kept in the browser before the page is opened: the page's own names and values. */
  readonly keeps?: Readonly<Record<string, unknown>>;
  readonly token?: string;
}

declare global {
  interface Window {
    told?: (violation: string) => void;
  }
}

/** Pictures in the README. */
const SHOWN = ["session-light", "asked-dark"];

export class TestBrowser {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async launch(): Promise<TestBrowser> {
    const args = ["--no-sandbox", "--force-color-profile=srgb", "--font-render-hinting=none"];
    return new TestBrowser(
      await chromium.launch({ executablePath: findTool("chromium")!, args, timeout: 90_000 }),
    );
  }

  /** Somebody with a browser of their own, on the page at `url`. */
  async open(url: string, options: PersonOptions = {}): Promise<Person> {
    const { width = 1180, height = 800, colours = "light", keeps = {}, token } = options;
    const context = await this.#browser.newContext({
      viewport: { width, height },
      colorScheme: colours,
      reducedMotion: "reduce",
      locale: "en-GB",
      timezoneId: "UTC",
    });
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    const violations: string[] = [];
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => {
      // What a lost server brings is no fault of the page.
      if (message.type() === "error" && !/ERR_|WebSocket|Failed to load resource/.test(message.text()))
        errors.push(message.text());
    });
    await page.exposeFunction("told", (violation: string) => void violations.push(violation));
    await page.addInitScript(
      ({ keeps, token }) => {
        document.addEventListener("securitypolicyviolation", (event) =>
          window.told?.(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`),
        );
        for (const [name, value] of Object.entries(keeps)) {
          const key = `haulout:${name}`;
          if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
        }
        if (token !== undefined) sessionStorage.setItem("haulout:token", JSON.stringify(token));
      },
      { keeps, token },
    );
    await page.goto(url);
    return { page, context, violations, errors };
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}

/**
 * Keeps a picture among the artifacts of the tests, for people to look at. With HAULOUT_PICTURES=1 those that the README
 * shows are made anew.
 */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = join(repositoryRoot, ".artifacts", "page");
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
  if (process.env["HAULOUT_PICTURES"] !== "1" || !SHOWN.includes(name)) return;
  const shown = join(repositoryRoot, "test", "ui", "pictures", `${name}.jpg`);
  await page.screenshot({ path: shown, type: "jpeg", quality: 78 });
}
