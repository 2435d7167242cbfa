/**
 * One tool call from its message to its one outcome. Owns the rules of attempts, loss, deadline and cancel; yields the
 * entries to commit and goes on only once they are. Never sends a call before its dispatch is committed, and never
 * dispatches a `once` call again unless its provider said that it did not start.
 */
import type { EntryBody } from "../../protocol/entries.ts";
import type { OpenCall } from "../../protocol/frames.ts";
import type { CallEntries, CallRequest, CallServices, PreparedCall } from "./context.ts";
import { CANCELLED, judge, lostEntry, resultEntry, timedOut, unavailable, UNKNOWN } from "./outcome.ts";
import type { Judgement } from "./outcome.ts";
import type { Lease } from "./ticket.ts";

/** How long a call that waits for its lost provider waits before it looks for another one again. */
const RETRY_WAIT_MS = 1000;
/** A provider that did not start the call is asked again after so long, then after twice as long, and so on. */
const FIRST_REST_MS = 100;
const MAX_REST_MS = 5000;

/** `from`: the call as the log left it; an attempt that was dispatched waits for its provider to come back. */
export function prepareCall(
  request: CallRequest,
  services: CallServices,
  from?: OpenCall,
): PreparedCall<CallEntries> {
  const { router, now } = services;
  const { specification } = request.tool();
  // What may have had its effect stays `once`, whatever is offered under the name after a restart.
  let effect = from?.effect === "once" ? "once" : specification.effect;
  const startedAt = now();
  const deadlineAt =
    from === undefined
      ? startedAt + specification.timeoutMs
      : Math.max(from.deadlineAt ?? request.askedAt + specification.timeoutMs, startedAt + router.graceMs);
  const ticket = router.open(
    request.session,
    request.call,
    (attempt, progress) => services.onProgress(request.call, attempt, progress),
    request.tool(),
    request,
  );

  let attempt = from?.attempt ?? 0;
  const inFlight = from?.state === "dispatched" || from?.state === "accepted" ? from.provider : undefined;
  const dispatched = (lease: Lease): EntryBody => {
    lease.attempt = ++attempt;
    if (request.tool().specification.effect === "once") effect = "once";
    ticket.attempts.set(attempt, lease.provider.id);
    return {
      type: "tool-dispatched",
      call: request.call,
      attempt,
      provider: lease.provider.id,
      effect,
      deadlineAt,
    };
  };
  const ended = (judgement: Judgement, by = attempt): EntryBody =>
    resultEntry(request.call, by, judgement, now() - startedAt);

  const adopted =
    inFlight === undefined ? undefined : router.adopt(ticket, inFlight, attempt, request.tool());
  // A call that the log knows already has no append of its message to share: it is dispatched by one of its own.
  const first = from === undefined ? router.tryLease(ticket, request.tool()) : adopted;
  const entries = first === undefined || from !== undefined ? [] : [dispatched(first)];
  const timers = new Set<() => void>();
  const { inbox } = ticket;

  async function* run(cancel: AbortSignal, stop: AbortSignal): AsyncGenerator<CallEntries, void> {
    const avoid = new Set<string>();
    const refusals = new Map<string, number>();
    let lease = first;
    let lost = inFlight !== undefined;
    let accepted = from?.state === "accepted";
    let cancelling = false;
    /** Attempts that were given up and may have had their effect, or still have it. */
    const uncertain = new Set<number>();
    const before = (from?.attempt ?? 0) - (inFlight === undefined ? 0 : 1);
    for (let number = 1; number <= before; number++) uncertain.add(number);
    let settled = false;
    let last: EntryBody[];
    let acknowledge = (): void => {};
    const pending: EntryBody[] = [];
    let stopAcceptTimer = (): void => {};
    const after = (ms: number, push: () => void): (() => void) => {
      const clear = services.deadlines.after(ms, push);
      timers.add(clear);
      return clear;
    };
    const onCancel = (): void => inbox.push({ type: "cancel" });
    const onStop = (): void => inbox.push({ type: "stop" });

    /** The outcome of a cancelled call that is at no provider now. */
    const unsent = (): EntryBody => ended(uncertain.size > 0 ? UNKNOWN : CANCELLED);
    /** Sends the current lease; false when that certainly failed. */
    const send = (): boolean => {
      const sent = lease!.send({
        session: request.session,
        call: request.call,
        attempt,
        run: request.run,
        agent: request.agent,
        tool: specification.name,
        input: request.input,
        actor: request.actor,
        timeoutMs: Math.max(0, Math.round(deadlineAt - now())),
      });
      accepted = false;
      lost = false;
      const current = attempt;
      if (sent) {
        stopAcceptTimer = after(services.timings.acceptMs ?? 5000, () =>
          inbox.push({ type: "unaccepted", attempt: current }),
        );
      }
      return sent;
    };
    /** Gives the attempt up; the next one is another provider's where there is one. */
    const giveUp = (cause: string): EntryBody => {
      stopAcceptTimer();
      if (cause !== "not-sent" && cause !== "not-started") uncertain.add(attempt);
      avoid.add(lease!.provider.id);
      router.release(lease!);
      lease = undefined;
      return lostEntry(request.call, attempt, cause);
    };

    /** Others who are free may have the call at once. */
    const rest = (id: string): void => {
      const before = refusals.get(id) ?? 0;
      refusals.set(id, before + 1);
      ticket.resting.add(id);
      after(Math.min(MAX_REST_MS, FIRST_REST_MS * 2 ** before), () => {
        ticket.resting.delete(id);
        if (lease === undefined) router.wait(ticket, request.tool(), avoid);
      });
    };

    try {
      cancel.addEventListener("abort", onCancel);
      stop.addEventListener("abort", onStop);
      if (cancel.aborted) onCancel();
      if (stop.aborted) onStop();
      after(Math.max(0, deadlineAt - now()), () => inbox.push({ type: "deadline" }));
      if (lease === undefined) router.wait(ticket, request.tool(), avoid);
      else if (!lost && !send()) {
        yield [giveUp("not-sent")];
        router.wait(ticket, request.tool(), avoid);
      }

      outcome: for (;;) {
        const event = await inbox.next();
        switch (event.type) {
          case "lease": {
            // A wait that a returning provider or a cancel made needless.
            if (cancelling || (lease !== undefined && !lost)) {
              router.release(event.lease);
              break;
            }
            const given = lease === undefined ? [] : [giveUp("disconnected")];
            lease = event.lease;
            let dropped = false;
            yield () => {
              dropped = request.cancelled();
              return [...given, dropped ? unsent() : dispatched(lease!)];
            };
            if (dropped) {
              settled = true;
              return;
            }
            if (!send()) {
              yield [giveUp("not-sent")];
              router.wait(ticket, request.tool(), avoid);
            }
            break;
          }
          case "no-provider":
            // After a start the providers of the process before get their grace to come back.
            if (lease === undefined && from !== undefined && now() < startedAt + router.graceMs) {
              after(RETRY_WAIT_MS, () => router.wait(ticket, request.tool(), avoid));
              break;
            }
            if (lease === undefined) {
              last = [ended(unavailable(event.detail))];
              break outcome;
            }
            // The provider that is waited for may still return; another one may come, too.
            if (lost) after(RETRY_WAIT_MS, () => lost && router.wait(ticket, request.tool(), avoid));
            break;
          case "accepted":
            if (event.attempt !== attempt || accepted) break;
            accepted = true;
            stopAcceptTimer();
            if (effect === "once") pending.push({ type: "tool-accepted", call: request.call, attempt });
            // A result that is already here goes into the same append.
            if (pending.length > 0 && inbox.waiting === 0) yield pending.splice(0);
            break;
          case "unaccepted":
            if (event.attempt !== attempt || accepted || lease === undefined || lost) break;
            lease.cancel("not-accepted");
            if (effect === "once") break;
            yield [giveUp("not-accepted")];
            router.wait(ticket, request.tool(), avoid);
            break;
          case "lost": {
            // Not the socket that this attempt went out on: it is back already, or was never sent there.
            if (event.attempt !== attempt || lease === undefined || lease.host !== event.host) break;
            lost = true;
            stopAcceptTimer();
            if (effect !== "once" && !cancelling)
              router.wait(ticket, request.tool(), new Set([lease.provider.id]));
            break;
          }
          case "returned":
          case "revoked": {
            if (event.attempt !== attempt || lease === undefined) break;
            lost = false;
            accepted = true;
            if (event.type === "returned" && event.working) {
              // It may have been away when it was told.
              if (cancelling) lease.cancel("cancelled");
              break;
            }
            const cause = event.type === "returned" ? "forgotten" : "revoked";
            if (effect === "once" || cancelling) {
              last = [lostEntry(request.call, attempt, cause), ended(UNKNOWN)];
              break outcome;
            }
            yield [giveUp(cause)];
            router.wait(ticket, request.tool(), avoid);
            break;
          }
          case "grace-over":
            if (event.attempt !== attempt || lease === undefined) break;
            if (effect === "once" || cancelling) {
              last = [lostEntry(request.call, attempt, "disconnected"), ended(UNKNOWN)];
              break outcome;
            }
            // Others may be busy, and one that is away may come back yet.
            yield [giveUp("disconnected")];
            router.wait(ticket, request.tool(), avoid);
            break;
          case "result": {
            const { answer, host } = event;
            const reference = { session: request.session, call: request.call, attempt: event.attempt };
            const { code } = answer.error ?? {};
            const current = event.attempt === attempt && lease !== undefined;
            if (!current && (code === "not-started" || code === "cancelled")) {
              // It is as we took it: given up. All that it tells is that nothing comes of it any more.
              uncertain.delete(event.attempt);
              host.acknowledgeResult(reference, "stale");
              break;
            }
            if (code === "not-started" && !cancelling) {
              rest(lease!.provider.id);
              yield [giveUp("not-started")];
              router.wait(ticket, request.tool(), avoid);
              host.acknowledgeResult(reference, "stored");
              break;
            }
            // Of an attempt before the restart its provider knows the deadline of then.
            const told = event.attempt > (from?.attempt ?? 0) ? deadlineAt : (from?.deadlineAt ?? deadlineAt);
            if ((code === "timeout" || code === "cancelled") && now() >= told && !cancelling) {
              // The provider noticed the deadline before we did, or a process that is gone told it: it has one name.
              ticket.late.push({ host, reference });
              last = [...pending.splice(0), ended(timedOut(specification.timeoutMs))];
              break outcome;
            }
            const judgement = judge(answer, request.tool(), { cancelling, certain: uncertain.size === 0 });
            if (judgement === UNKNOWN) {
              // It stopped, and another attempt may go on: the outcome is not its word.
              ticket.late.push({ host, reference });
              last = [...pending.splice(0), ended(UNKNOWN)];
              break outcome;
            }
            last = [...pending.splice(0), ended(judgement, event.attempt)];
            acknowledge = () => {
              ticket.stored = event.attempt;
              host.acknowledgeResult(reference, "stored");
              if (event.attempt !== attempt) lease?.cancel("answered");
            };
            break outcome;
          }
          case "deadline":
            if (cancelling) break;
            lease?.cancel("deadline");
            last = [ended(timedOut(specification.timeoutMs))];
            break outcome;
          case "cancel":
            if (cancelling) break;
            cancelling = true;
            router.cancelAll(ticket, "cancelled");
            if (lease === undefined) {
              last = [unsent()];
              break outcome;
            }
            after(services.timings.cancelMs ?? 5000, () => inbox.push({ type: "cancel-unanswered" }));
            break;
          case "cancel-unanswered":
            last = [ended(UNKNOWN)];
            break outcome;
          case "stop":
            return;
        }
      }
      yield last;
      settled = true;
      acknowledge();
    } finally {
      cancel.removeEventListener("abort", onCancel);
      stop.removeEventListener("abort", onStop);
      for (const clear of timers) clear();
      if (lease !== undefined) {
        // Nobody will take this call up again.
        if (!settled && stop.reason === "deleted") lease.cancel("deleted");
        router.release(lease, !settled);
      }
      router.close(ticket, settled);
    }
  }
  const discard = (): void => {
    if (first !== undefined) router.release(first);
    router.close(ticket, false);
  };
  return { entries, run, discard };
}
