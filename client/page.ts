/**
 * What a browser page knows about its connection before its timers do: online, offline, visible again, left and come
 * back. Owns those listeners; outside a page it does nothing.
 */
export interface PageEvents {
  /** A good moment to retry, or to find out whether a silent connection still lives. */
  awake(): void;
  /** The platform says that the network is gone. It may be wrong: a local server stays reachable. */
  networkLost(): void;
  /** The page is left, perhaps into the back/forward cache, which an open socket would prevent. */
  left(): void;
}

/** Returns what takes the listeners away. */
export function watchPage(events: PageEvents): () => void {
  if (typeof window === "undefined" || typeof window.addEventListener !== "function") return () => undefined;
  const ends: (() => void)[] = [];
  const listen = (target: EventTarget, type: string, work: () => void): void => {
    target.addEventListener(type, work);
    ends.push(() => target.removeEventListener(type, work));
  };
  listen(window, "online", () => events.awake());
  listen(window, "offline", () => events.networkLost());
  listen(window, "pageshow", () => events.awake());
  listen(window, "pagehide", () => events.left());
  if (typeof document !== "undefined") {
    listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") events.awake();
    });
  }
  return () => {
    for (const end of ends) end();
  };
}
