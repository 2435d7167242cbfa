/**
 * What an invitation's link opens: who follows it becomes a member and is taken to the session. Owns that step and the words
 * for a token that is no good.
 */
import { useEffect, useState } from "preact/hooks";
import { ProtocolError } from "../../index.ts";
import { client } from "../model/link.ts";
import { linkTo } from "../model/route.ts";
import { Pane } from "./pane.tsx";

export function Join({ token }: { token: string }) {
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    client.value.join(token).then(
      // In place of this step, which is no place to come back to.
      ({ session }) => location.replace(linkTo({ view: "session", session })),
      (error: unknown) => {
        const isGone = error instanceof ProtocolError && error.code === "not-found";
        setProblem(isGone ? "This invitation is used up, expired or taken back." : String(error));
      },
    );
  }, [token]);
  return (
    <Pane title="Invitation">
      <p role="status">{problem ?? "Joining…"}</p>
    </Pane>
  );
}
