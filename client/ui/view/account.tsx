/**
 * Oneself, at the foot of the side: the name, which may be changed where nobody is verified, signing in and out, and the
 * choice of light or dark. Owns that choice.
 */
import { effect, signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { plain } from "../model/format.ts";
import { textOf } from "../model/form.ts";
import { ofBrowser } from "../model/keep.ts";
import { hasToken, mayRename, rename, signOut, status, user } from "../model/link.ts";
import { Icon } from "./icons.tsx";

const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const theme = signal<Theme>(ofBrowser.get("theme") ?? "auto");
effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
  ofBrowser.set("theme", theme.value === "auto" ? undefined : theme.value);
});

export function Account() {
  const [isNaming, setNaming] = useState(false);
  const name = plain(user.value?.name ?? "", 40);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    rename(plain(textOf(event, "name"), 40));
    setNaming(false);
  };
  return (
    <footer class="account">
      <span class={`dot is-${status.value.state}`} title={status.value.state} />
      {isNaming ? (
        <form onSubmit={submit}>
          <input
            name="name"
            aria-label="Your name"
            defaultValue={name}
            maxLength={40}
            ref={(input) => input?.focus()}
          />
          <button type="submit" class="quiet small">
            Save
          </button>
        </form>
      ) : (
        <>
          <bdi class="grow">{name || "…"}</bdi>
          {mayRename.value && (
            <button
              type="button"
              class="quiet small"
              onClick={() => setNaming(true)}
              aria-label="Change your name"
            >
              <Icon name="edit" size={15} />
            </button>
          )}
        </>
      )}
      {hasToken.value && (
        <button type="button" class="quiet small" onClick={signOut}>
          Sign out
        </button>
      )}
      <button
        type="button"
        class="quiet small"
        aria-label={`Colours: ${theme.value}`}
        title={`Colours: ${theme.value}`}
        onClick={() => (theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!)}
      >
        <Icon name="sun" size={16} />
      </button>
    </footer>
  );
}
