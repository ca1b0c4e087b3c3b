// The topics of the topics case: 1,000, of ten subscribers each. Clients are in groups of ten, and the
// topics are shared out among the groups. The message of number i goes to one topic of each group, to all of
// them in turn: so each client gets every message, in order.

const TOPICS = 1000;
const MEMBERS = 10;

/** @type {string[][]} the topics of each group */
let groups = [];

/** Sets the number of clients. @param {number} clients @returns {number} topics of each group: messages of a turn */
export function setClients(clients) {
  const count = clients / MEMBERS;
  const each = TOPICS / count;
  groups = Array.from({ length: count }, (_, group) =>
    Array.from({ length: each }, (_, topic) => `group/${group}/topic/${topic}`),
  );
  return each;
}

/** Returns the topics of the client with number `index` in order of arrival. @param {number} index */
export function topicsOf(index) {
  return groups.length === 0 ? [] : groups[index % groups.length];
}

/** The groups that have the present message already. */
let done = 0;

/**
 * Sends a message, its number in its first 4 bytes, to its topic in every group. When there is no room it is
 * called again with the same message, and continues where it stopped.
 * @param {Buffer} message
 * @param {(topic: string, message: Buffer) => boolean} publish
 */
export function toGroups(message, publish) {
  const topic = message.readUInt32LE(0) % groups[0].length;
  for (; done < groups.length; done++) {
    if (!publish(groups[done][topic], message)) return false;
  }
  done = 0;
  return true;
}
