// A hook for a stream: its last message, and whether it is connected.
//
// All components that look at the same URL share one connection and see the same message, also while React renders in
// pieces. It is opened by the first of them, comes back by itself, and ends with the last of them.

import { useSyncExternalStore } from "react";
import { connect } from "ringcast/client";

/** Of a stream that has not said anything. */
const NOTHING = { message: undefined, isLive: false };

class Stream {
  #url;
  #connection;
  #listeners = new Set();
  #snapshot = NOTHING;

  constructor(url) {
    this.#url = url;
  }

  #set(change) {
    this.#snapshot = { ...this.#snapshot, ...change };
    for (const listener of this.#listeners) listener();
  }

  subscribe = (listener) => {
    this.#listeners.add(listener);
    this.#connection ??= connect(this.#url, {
      onMessage: (data) => this.#set({ message: JSON.parse(data) }),
      onBack: () => this.#set({ isLive: true }),
      onLost: () => this.#set({ isLive: false }),
    });
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#connection.close();
      this.#connection = undefined;
      this.#snapshot = NOTHING;
    };
  };

  snapshot = () => this.#snapshot;
}

/** By their URLs. An unused one is an empty object. */
const streams = new Map();

/** Subscribes a component to a stream. @returns { message, isLive }: the same object until one of them changes */
export function useStream(url) {
  let stream = streams.get(url);
  if (!stream) {
    stream = new Stream(url);
    streams.set(url, stream);
  }
  return useSyncExternalStore(stream.subscribe, stream.snapshot, () => NOTHING);
}
