// For the test alone: a wall of slow tiles, rendered in pieces while messages come. In its commit all tiles must show
// the same message. With `?torn` they read what came last from a variable, as one would without the hook: they do not.

import { memo, startTransition, useLayoutEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "ringcast/client";
import { useStream } from "./use-stream.js";

const TILES = Array.from({ length: 40 }, (_, i) => `tile ${i}`);

let latest;

const useLatest = () => latest;
const useTin = () => useStream("/prices").message?.tin;
const isTorn = location.search === "?torn";
if (isTorn) {
  connect("/prices", {
    onMessage(data) {
      latest = JSON.parse(data).tin;
      globalThis.seen.messages++;
    },
  });
}
const useMessage = isTorn ? useLatest : useTin;

/** Messages so far; of the wall's commits how many there were, and in how many tiles differed. */
globalThis.seen = { messages: 0, commits: 0, torn: 0 };

const Tile = memo(() => {
  const message = useMessage();
  const start = performance.now();
  while (performance.now() - start < 3);
  return <li>{message}</li>;
});

function Wall() {
  useLayoutEffect(() => {
    const texts = [...document.querySelectorAll("li")].map((tile) => tile.textContent);
    globalThis.seen.commits++;
    if (new Set(texts).size > 1) globalThis.seen.torn++;
  });
  return (
    <ul>
      {TILES.map((name) => (
        <Tile key={name} />
      ))}
    </ul>
  );
}

/** Keeps the stream open before there is a wall. */
function Watch() {
  useTin();
  globalThis.seen.messages++;
  return null;
}

function Page() {
  const [isMade, setMade] = useState(false);
  globalThis.make = () => startTransition(() => setMade(true));
  return (
    <>
      {!isTorn && <Watch />}
      {isMade && <Wall />}
    </>
  );
}

createRoot(document.querySelector("#root")).render(<Page />);
