/**
 * Where the page is: the fragment of its URL as a value, so that a link shows the same to whoever opens it. Owns the form
 * of these links; what is shown for one is app.tsx's.
 */
import { signal } from "@preact/signals";

export type Route =
  | { readonly view: "sessions" | "inbox" | "tools" | "activity" }
  | { readonly view: "session"; readonly session: string }
  | { readonly view: "join"; readonly token: string };

export const route = signal<Route>(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

export function linkTo(to: Route): string {
  if (to.view === "session") return `#/s/${encodeURIComponent(to.session)}`;
  if (to.view === "join") return `#/join/${encodeURIComponent(to.token)}`;
  return to.view === "sessions" ? "#/" : `#/${to.view}`;
}

export function go(to: Route): void {
  location.hash = linkTo(to);
}

function parse(hash: string): Route {
  const [first = "", second = ""] = hash.replace(/^#\/?/, "").split("/").map(decode);
  if (first === "s" && second !== "") return { view: "session", session: second };
  if (first === "join" && second !== "") return { view: "join", token: second };
  if (first === "inbox" || first === "tools" || first === "activity") return { view: first };
  return { view: "sessions" };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
