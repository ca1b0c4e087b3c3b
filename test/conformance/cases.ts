// Conformance cases: the octets to send, and the result that must follow. The numbers are those of the Autobahn
// TestSuite's fuzzing client, whose published descriptions say the purpose of each case.

import { isDeepStrictEqual } from "node:util";
import { Client, type Event } from "./client";
import { sleep } from "../lib/wait";

export interface Case {
  readonly id: string;
  /** Sec-WebSocket-Extensions of the handshake. */
  readonly offer?: string;
  /** Sends the case's octets; also the Close, when the case is about one. */
  readonly send: (client: Client) => void | Promise<void>;
  /** The events that must follow, in this order, and no others. */
  readonly due: readonly Event[];
  /** Whose Close is first. */
  readonly closer: "client" | "server";
  /** Codes of which the server's Close has one; 1005: none in it. */
  readonly codes: readonly number[];
}

/** Returns a case in which the client closes once it has received all due events. */
export function answered(
  id: string,
  due: readonly Event[],
  send: Case["send"],
  codes: readonly number[] = [1000],
): Case {
  return { id, send, due, closer: "client", codes };
}

/** Returns a case in which the server has to fail the connection. */
export function failed(
  id: string,
  code: number,
  send: Case["send"],
  due: readonly Event[] = [],
): Case {
  return { id, send, due, closer: "server", codes: [code] };
}

/** ms in which the server has to end the TCP connection after the closing handshake. */
const DROP = 1500;
/** ms in which nothing else may come. */
const QUIET = 20;

function brief({ opcode, payload }: Event): string {
  const data = payload.length > 40 ? `(${payload.length})` : payload.toString("latin1");
  return `${opcode} ${JSON.stringify(data)}`;
}

const isSame = (a: readonly Event[], b: readonly Event[]): boolean =>
  a.length === b.length &&
  a.every(({ opcode, payload }, i) => {
    const other = b[i] as Event;
    return opcode === other.opcode && payload.equals(other.payload);
  });

/** Returns the differences between the events received and the due ones. */
function judge(client: Client, { due, closer, codes }: Case): string[] {
  const wrong = [...client.faults];
  if (!isSame(client.events, due)) {
    const list = (events: readonly Event[]): string =>
      `[${events.slice(0, 12).map(brief).join(", ")}]`;
    wrong.push(`got ${list(client.events)}, not ${list(due)}`);
  }
  if (client.closer !== closer) wrong.push(`closed by ${client.closer || "nobody"}, not ${closer}`);
  if (!codes.includes(client.closeCode)) wrong.push(`code ${client.closeCode}, not ${codes}`);
  if (client.closer === "server" && client.closeCode !== 1000 && client.closeReason === "")
    wrong.push("no reason text");
  if (client.broken) wrong.push("the connection was reset");
  return wrong;
}

/**
 * Runs a case.
 * @returns "" when all is well, else what is not
 */
async function run(one: Case, port: number): Promise<string> {
  let client: Client;
  try {
    client = await Client.open(port, one.offer);
  } catch (error) {
    return String(error);
  }
  try {
    await one.send(client);
    const over = (): boolean => client.ended || client.closeCode !== 0 || client.faults.length > 0;
    if (one.closer === "client" && client.closer === "") {
      await client.until(() => over() || isSame(client.events, one.due));
      if (!over()) client.close();
    }
    await client.until(() => client.closeCode !== 0 || client.ended);
    const wrong = [];
    if (!(await client.until(() => client.ended, DROP))) wrong.push("the server does not end TCP");
    // Nothing more must come.
    await sleep(QUIET);
    wrong.push(...judge(client, one));
    return wrong.join("; ");
  } catch (error) {
    return String(error);
  } finally {
    client.destroy();
  }
}

/** Runs cases, some at the same time. @returns the failed ones, with what is wrong */
export async function runAll(
  cases: readonly Case[],
  port: number,
  atOnce: number,
): Promise<Record<string, string>> {
  const wrong: Record<string, string> = {};
  const left = [...cases];
  const worker = async (): Promise<void> => {
    for (let one = left.shift(); one; one = left.shift()) {
      const result = await run(one, port);
      if (result !== "") wrong[one.id] = result;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return wrong;
}

/** Ids that are there more than once. */
export function repeated(cases: readonly Case[]): string[] {
  const ids = cases.map(({ id }) => id);
  return isDeepStrictEqual([...new Set(ids)], ids)
    ? []
    : ids.filter((id, i) => ids.indexOf(id) !== i);
}
