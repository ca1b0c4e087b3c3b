// The chat of the page, and the shop's ticker. The page is grey while the chat is lost.

import { connect } from "/ringcast/client.js";

const status = document.querySelector("[role=status]");
const list = document.querySelector("ol");
const form = document.querySelector("form");

const chat = connect("/", {
  protocols: "chat",
  dim: true,
  onMessage(line) {
    const item = document.createElement("li");
    item.textContent = line;
    list.append(item);
  },
  onBack({ first }) {
    status.textContent = first ? "live" : "live again";
    list.replaceChildren(); // the last lines come again
  },
  onLost() {
    status.textContent = "lost";
  },
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (chat.send(form.line.value)) form.reset();
});
