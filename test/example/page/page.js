// Prices on a plain page. It shows the latest message, and says so when that is old.

import { connect } from "ringcast/client";

const status = document.querySelector("[role=status]");
const list = document.querySelector("ul");

connect("/prices", {
  onMessage(data) {
    const items = Object.entries(JSON.parse(data)).map(([symbol, price]) => {
      const item = document.createElement("li");
      item.textContent = `${symbol} ${price}`;
      return item;
    });
    list.replaceChildren(...items);
  },
  onBack({ first }) {
    status.textContent = first ? "live" : "live again";
  },
  onLost({ delay }) {
    status.textContent = `lost, trying again in ${Math.ceil(delay / 1000)} s`;
  },
});
