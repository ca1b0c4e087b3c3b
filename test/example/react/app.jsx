// Prices in React, by the hook of use-stream.js.

import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useStream } from "./use-stream.js";

function Status() {
  const { isLive } = useStream("/prices");
  return <p role="status">{isLive ? "live" : "connecting …"}</p>;
}

function Price({ symbol }) {
  const { message } = useStream("/prices");
  return (
    <li>
      {symbol} <output>{message?.[symbol] ?? "–"}</output>
    </li>
  );
}

function App() {
  const [isShown, setShown] = useState(true);
  return (
    <>
      <button type="button" onClick={() => setShown(!isShown)}>
        {isShown ? "Hide" : "Show"}
      </button>
      {isShown && (
        <>
          <Status />
          <ul>
            <Price symbol="tin" />
            <Price symbol="zinc" />
          </ul>
        </>
      )}
    </>
  );
}

createRoot(document.querySelector("#root")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
