/**
 * What people are asked: an approval with its input, or questions as a form, answered where it stands. Owns the forms and
 * who is offered which; the server decides whose answer counts.
 */
import { useId, useState } from "preact/hooks";
import type { JsonValue, OpenRequest, Question } from "../../index.ts";
import { act } from "../model/acts.ts";
import { textsOf } from "../model/form.ts";
import { plain, plural, until } from "../model/format.ts";
import { client, user } from "../model/link.ts";
import type { OpenSession } from "../model/session.ts";
import { LongText } from "./long-text.tsx";
import { mayAnswer } from "./rights.ts";

/** Requests that no card of a message shows: those of calls that are not on the screen have their place here. */
export function OpenRequests({ session }: { session: OpenSession }) {
  const requests = session.state.value?.requests ?? [];
  if (requests.length === 0) return null;
  const shown = new Set(
    session.messages.value
      .slice(-50)
      .flatMap(({ parts }) =>
        parts.map((part) => (part.type === "dynamic-tool" ? part.toolCallId : undefined)),
      ),
  );
  const homeless = requests.filter(({ call }) => call === undefined || !shown.has(call));
  return (
    <>
      {homeless.map((request) => (
        <div key={request.request} class="tool is-asked alone">
          <Request session={session} request={request} />
        </div>
      ))}
    </>
  );
}

export function Request({ session, request }: { session: OpenSession; request: OpenRequest }) {
  const may = mayAnswer(request, session.role.value, user.value?.id);
  return <RequestForm session={session.id} request={request} may={may} />;
}

/** `may`: whether the form is offered, or only that somebody is asked. */
export function RequestForm({
  session,
  request,
  may,
}: {
  session: string;
  request: OpenRequest;
  may: boolean;
}) {
  const given = request.approvals?.length ?? 0;
  const count = request.count ?? 1;
  return (
    <div class="request">
      <p class="asked">
        {request.kind === "approval" ? "May this call be made?" : "The agent asks:"}{" "}
        <span class="faint">
          {count > 1 && `${given} of ${count} have approved · `}
          until {until(request.expiresAt)}
        </span>
      </p>
      {!may ? (
        <p class="faint">Others are asked to answer.</p>
      ) : request.kind === "approval" ? (
        <Approval session={session} request={request} />
      ) : (
        <Questions session={session} request={request} />
      )}
    </div>
  );
}

function answer(session: string, request: string, fields: object): Promise<unknown> {
  return act("Your answer did not count", () =>
    client.value.request("answer", { session, request, ...fields }),
  );
}

function Approval({ session, request }: { session: string; request: OpenRequest }) {
  const subject = (request.subject ?? {}) as { tool?: string; input?: JsonValue };
  const edited = request.approvals?.at(-1)?.input;
  const before = JSON.stringify(edited ?? subject.input ?? {}, null, 2);
  const [text, setText] = useState<string>();
  const [reason, setReason] = useState("");
  const [remembers, setRemembers] = useState(false);
  const [problem, setProblem] = useState<string>();
  const say = (decision: "approve" | "deny"): void => {
    const fields: Record<string, unknown> = { decision };
    if (reason.trim() !== "") fields["reason"] = reason.trim();
    if (decision === "approve") {
      if (remembers) fields["remember"] = { what: "tool", for: "session" };
      if (text !== undefined || edited !== undefined) {
        try {
          fields["input"] = JSON.parse(text ?? before);
        } catch {
          return setProblem("The input is not JSON.");
        }
      }
    }
    setProblem(undefined);
    void answer(session, request.request, fields);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        say("approve");
      }}
    >
      {subject.tool !== undefined && text === undefined && subject.input !== undefined && (
        <LongText text={before} />
      )}
      {request.editable && text !== undefined && (
        <label>
          Input
          <textarea
            rows={5}
            class="mono"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
      )}
      {problem !== undefined && (
        <p class="bad" role="alert">
          {problem}
        </p>
      )}
      <label>
        Reason, for a no
        <input value={reason} maxLength={4096} onInput={(event) => setReason(event.currentTarget.value)} />
      </label>
      {request.remember && (
        <label class="inline">
          <input
            type="checkbox"
            checked={remembers}
            onChange={(event) => setRemembers(event.currentTarget.checked)}
          />
          Allow later calls of this tool in this session, too
        </label>
      )}
      <div class="row">
        <button type="submit" class="primary">
          Approve
        </button>
        <button type="button" onClick={() => say("deny")}>
          Deny
        </button>
        {request.editable && text === undefined && (
          <button type="button" class="quiet" onClick={() => setText(before)}>
            Change the input
          </button>
        )}
      </div>
    </form>
  );
}

function Questions({ session, request }: { session: string; request: OpenRequest }) {
  const { questions = [] } = (request.subject ?? {}) as { questions?: readonly Question[] };
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const answers: Record<string, string | string[]> = {};
    for (const [at, { id, kind }] of questions.entries()) {
      const given = textsOf(event, `question-${at}`);
      if (given.length > 0) answers[id] = kind === "choices" ? given : given[0]!;
    }
    void answer(session, request.request, { answers });
  };
  return (
    <form onSubmit={submit} aria-label={plural(questions.length, "question")}>
      {questions.map((question, at) => (
        <Asked key={question.id} question={question} name={`question-${at}`} />
      ))}
      <div class="row">
        <button type="submit" class="primary">
          Answer
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => void answer(session, request.request, { decision: "deny" })}
        >
          Decline
        </button>
      </div>
    </form>
  );
}

function Asked({ question, name }: { question: Question; name: string }) {
  const id = useId();
  const { kind, text, options = [], required = true } = question;
  if (kind === "text") {
    return (
      <label>
        {plain(text, 2000)}
        <input name={name} required={required} />
      </label>
    );
  }
  return (
    <fieldset>
      <legend>{plain(text, 2000)}</legend>
      {options.map((option, at) => (
        <label key={option} class="inline" for={`${id}-${at}`}>
          <input
            id={`${id}-${at}`}
            type={kind === "choice" ? "radio" : "checkbox"}
            name={name}
            value={option}
            required={kind === "choice" && required}
          />
          {plain(option, 200)}
        </label>
      ))}
    </fieldset>
  );
}
