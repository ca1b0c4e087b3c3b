// The front end of the example. It knows nothing of tests: it asks its server by fetch and WebSocket.

const ORIGIN = "http://ringcast.test";

/**
 * Shows the chat and the ticker in an element; a connection that is lost is made again.
 * @returns a function that takes its leave
 */
export async function mount(element, name) {
  element.innerHTML = `
    <p class="status">connecting …</p>
    <dl class="prices"></dl>
    <ol class="lines"></ol>
    <form><input name="text" autocomplete="off" aria-label="Say something" /><button>Send</button></form>`;
  const part = (selector) => element.querySelector(selector);
  const status = part(".status");
  const form = part("form");
  let socket;
  let hasLeft = false;

  const addLine = ({ name, text }) => {
    const item = document.createElement("li");
    item.textContent = `${name}: ${text}`;
    part(".lines").append(item);
  };
  const showPrice = ([symbol, price]) => {
    const id = `price-${symbol}`;
    let value = element.querySelector(`[data-id="${id}"]`);
    if (!value) {
      const term = document.createElement("dt");
      term.textContent = symbol;
      value = document.createElement("dd");
      value.dataset.id = id;
      part(".prices").append(term, value);
    }
    value.textContent = price.toFixed(2);
  };
  const connect = () => {
    if (hasLeft) return;
    socket = new WebSocket(`${ORIGIN.replace("http", "ws")}/?${encodeURIComponent(name)}`);
    socket.onopen = () => {
      status.textContent = "connected";
    };
    socket.onmessage = ({ data }) => {
      const { line, prices } = JSON.parse(data);
      if (line) addLine(line);
      for (const price of Object.entries(prices ?? {})) showPrice(price);
    };
    socket.onclose = ({ code, reason }) => {
      status.textContent = code === 4000 ? `left: ${reason}` : "lost, connecting again …";
      if (code !== 4000) setTimeout(connect, 20);
    };
  };
  const leave = () => {
    hasLeft = true;
    socket.close();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    socket.send(form.text.value);
    form.reset();
  });
  const history = await fetch(`${ORIGIN}/history`);
  for (const line of await history.json()) addLine(line);
  connect();
  return leave;
}
