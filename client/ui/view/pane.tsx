/**
 * The frame of a view that is no session: its heading, and on a phone the way back to the list. Owns that way.
 */
import type { ComponentChildren } from "preact";
import { Icon } from "./icons.tsx";

export function Pane({
  title,
  isWide = false,
  children,
}: {
  title: string;
  isWide?: boolean;
  children: ComponentChildren;
}) {
  return (
    <section class={isWide ? "pane wide" : "pane"}>
      <header>
        <Back />
        <h1>{title}</h1>
      </header>
      {children}
    </section>
  );
}

/** Only where the list is not beside it. */
export function Back() {
  return (
    <a class="back button quiet small" href="#/" aria-label="All sessions">
      <Icon name="back" />
    </a>
  );
}
