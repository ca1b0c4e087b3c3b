// Greetings of event streams: a client resumes, or has missed messages for a reason.

import { Gap } from "../../../assembly/abi";
import type { StreamGap } from "../../handler";

/** Reasons of gaps, by Gap. */
const REASONS: readonly StreamGap["reason"][] = ["expired", "epoch", "invalid", "lapped", "large"];

/** How an event stream opens. */
export interface Greeting {
  /** The client gets all that it has missed. */
  readonly resumed: boolean;
  /** The reason when the client named a position and does not resume. */
  readonly gap: StreamGap | undefined;
}

/** How anything but a stream with history opens. */
export const NO_GREETING: Greeting = { resumed: false, gap: undefined };

/**
 * Returns a greeting.
 * @param result of `EngineLoop.greet` @param topic that the gap is in; "": it is not in one topic
 */
export function greetingOf(result: number, topic: string): Greeting {
  const reason = result > 1 ? REASONS[result - 1 - Gap.Expired] : undefined;
  const gap = reason && (topic === "" ? { reason } : { reason, topic });
  return { resumed: result === 1, gap };
}

/** Returns the result of `EngineLoop.greet` for a greeting. */
export function resultOf({ resumed, gap }: Greeting): number {
  if (resumed) return 1;
  return gap ? 1 + Gap.Expired + REASONS.indexOf(gap.reason) : 0;
}
