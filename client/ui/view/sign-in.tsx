/**
 * The question for a token, where the server wants one. Owns the form and the words for a refusal; the token goes to link.ts
 * and nowhere else.
 */
import { useState } from "preact/hooks";
import { hasToken, signIn, status } from "../model/link.ts";

export function SignIn() {
  const [token, setToken] = useState("");
  const submit = (event: Event): void => {
    event.preventDefault();
    if (token.trim() !== "") signIn(token.trim());
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <h1>Haulout</h1>
        <p>This server asks who you are. Paste the token that you were given.</p>
        <label>
          Token
          <input
            type="password"
            name="token"
            autocomplete="current-password"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        {hasToken.value && (
          <p class="bad" role="alert">
            {status.value.reason ?? "The server did not take it."}
          </p>
        )}
        <button type="submit" class="primary">
          Sign in
        </button>
        <p class="faint">It is kept until this tab is closed.</p>
      </form>
    </main>
  );
}
