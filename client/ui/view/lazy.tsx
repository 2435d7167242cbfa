/**
 * A view that is a file of its own, loaded when it is shown first. Owns what is shown when it cannot be had: after the server
 * was updated the old files are gone, and a reload brings the new ones.
 */
import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface Lazy<P> extends FunctionComponent<P> {
  /** Loads it before it is wanted. */
  ahead(): void;
}

export function lazy<P extends object>(load: () => Promise<FunctionComponent<P>>): Lazy<P> {
  let found: FunctionComponent<P> | undefined;
  const get = async (): Promise<void> => {
    found ??= await load();
  };
  function Lazily(props: P) {
    const [state, setState] = useState<"loaded" | "failed">();
    useEffect(() => {
      if (found !== undefined) return;
      get().then(
        () => setState("loaded"),
        () => setState("failed"),
      );
    }, []);
    const Found = found;
    if (Found !== undefined) return <Found {...props} />;
    return state === "failed" ? (
      <p class="empty">This part of the page could not be loaded. Reload to try again.</p>
    ) : null;
  }
  // A failure shows when the view is wanted.
  return Object.assign(Lazily, { ahead: () => void get().catch(() => undefined) });
}
