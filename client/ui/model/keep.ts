/**
 * What the page keeps in the browser: a few small values by name, for this tab or for all of them. Owns the prefix of their
 * names; a browser that stores nothing is no error.
 */
export interface Keep {
  get<T>(name: string): T | undefined;
  /** `undefined` removes it. */
  set(name: string, value: unknown): void;
}

function keepIn(storage: () => Storage): Keep {
  return {
    get<T>(name: string): T | undefined {
      try {
        const text = storage().getItem(`haulout:${name}`);
        return text === null ? undefined : (JSON.parse(text) as T);
      } catch {
        return undefined;
      }
    },
    set(name, value) {
      try {
        if (value === undefined) storage().removeItem(`haulout:${name}`);
        else storage().setItem(`haulout:${name}`, JSON.stringify(value));
      } catch {
        // Full or forbidden: it lives in memory alone then.
      }
    },
  };
}

/** Until the tab is closed, reloads included. */
export const ofTab = keepIn(() => sessionStorage);
/** On this browser, for good. */
export const ofBrowser = keepIn(() => localStorage);
