// The scripts of test/example/cgi, started by the command with its configuration, and scripts that do it wrong.

import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import * as http from "node:http";
import os from "node:os";
import path from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Command } from "./command";
import { FOLDER } from "./neighbour";
import { until, within } from "./peer";

const cgi = suite("cgi");

const folder = mkdtempSync(path.join(os.tmpdir(), "ringcast-cgi-"));
cgi.after(() => rmSync(folder, { recursive: true }));
cpSync(path.join(FOLDER, "cgi"), folder, { recursive: true });

/** Adds a script of the shell's. */
function script(name: string, text: string, mode = 0o755): void {
  const file = path.join(folder, "cgi-bin", name);
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, mode);
}

const PLAIN = "printf 'Content-Type: text/plain\\n\\n'";
script("env.sh", `${PLAIN}\nenv | sort\npwd`);
script("cat.sh", `${PLAIN}\ncat`);
script("deaf.sh", `${PLAIN}\necho deaf`);
script(
  "crlf.sh",
  "printf 'Status: 404 Not Here\\r\\nContent-Type: text/plain\\r\\nX-A: 1\\r\\nX-A: 2\\r\\n\\r\\nnone\\n\\nx'",
);
script("moved.sh", "printf 'Location: https://new.example/x\\n\\n'");
script(
  "moved-so.sh",
  "printf 'Status: 307\\nLocation: https://new.example/x\\nContent-Length: 99\\n\\n'",
);
script("empty.sh", ":");
script("headless.sh", "echo hello");
script("blank.sh", "printf '\\nhello'");
script("bad-status.sh", "printf 'Status: 1000\\nContent-Type: text/plain\\n\\nx'");
script(
  "bad-field.sh",
  "printf 'Content-Type: text/plain\\nTransfer-Encoding: chunked\\nBad Name: x\\n\\nx'",
);
script(
  "hop.sh",
  "printf 'Content-Type: text/plain\\nTransfer-Encoding: chunked\\nConnection: close\\n\\nx'",
);
script(
  "endless-head.sh",
  "while :; do echo 'X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'; done",
);
script("fails.sh", `${PLAIN}\necho begun\nexit 3`);
script("fails-early.sh", "exit 3");
script("large.sh", `${PLAIN}\nhead -c 5000000 /dev/zero`);
script("plain.sh", "echo x", 0o644);
script("foreign.sh", "");
writeFileSync(path.join(folder, "cgi-bin/foreign.sh"), "#!/no/such/program\n");
/** Notes its process, and one that it starts, and stays. */
const stay = (name: string): string => `sleep 100 & echo "$$ $!" > ${path.join(folder, name)}.pids`;
script("stays.sh", `${stay("stays")}\nwait`);
script("stays-late.sh", `${PLAIN}\necho begun\n${stay("stays-late")}\nwait`);
script("leaves.sh", `${PLAIN}\necho begun\n${stay("leaves")}\nwait`);
script("unread.sh", `${PLAIN}\n${stay("unread")}\ncat /dev/zero`);
script("ends.sh", `${PLAIN}\necho begun\n${stay("ends")}\nwait`);

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly isWhole: boolean;
}

/** Asks, and takes the response however it ends. */
function ask(port: number, target: string, options: http.RequestOptions = {}, body?: Buffer) {
  const answered = new Promise<Answer>((resolve) => {
    const all = { host: "127.0.0.1", port, path: target, agent: false, ...options };
    let isAnswered = false;
    const request = http.request(all, (response) => {
      isAnswered = true;
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.on("error", () => undefined);
      response.on("close", () => {
        const { statusCode: status = 0, headers, complete: isWhole } = response;
        resolve({ status, headers, body: Buffer.concat(pieces).toString(), isWhole });
      });
    });
    // The reset may overtake the response.
    request.on("error", ({ message }) => {
      if (!isAnswered) resolve({ status: 0, headers: {}, body: message, isWhole: false });
    });
    request.end(body);
  });
  return within(answered, target);
}

/** Returns whether a process of a script is there. Its parent is the server, which reaps it. */
const areAlive = (name: string): boolean =>
  readFileSync(path.join(folder, `${name}.pids`), "utf8")
    .trim()
    .split(" ")
    .some((pid) => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(statusOf(pid)));

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return "State: Z";
  }
}

const noted = (name: string): Promise<void> =>
  until(`${name} runs`, () => existsSync(path.join(folder, `${name}.pids`)) && areAlive(name));
const gone = (name: string): Promise<void> => until(`${name} is gone`, () => !areAlive(name));

async function running(
  env: Readonly<Record<string, string>>,
  body: (port: number, command: Command) => Promise<void>,
): Promise<void> {
  const flags = ["--port", "0", "--shutdown-timeout", "500ms"];
  const command = new Command([path.join(folder, "ringcast.json"), ...flags], env);
  try {
    await body(await command.port(), command);
    command.signal("SIGTERM");
    assert.is((await command.ended()).code, 0);
  } finally {
    command.kill();
  }
}

cgi("scripts of the shell and of Perl get the request, and answer", () =>
  running({ SECRET: "mine" }, async (port, command) => {
    const hello = await ask(port, "/cgi-bin/hello.sh");
    assert.equal(
      [hello.status, hello.headers["content-type"], hello.body],
      [200, "text/plain", "hello 127.0.0.1, this is /cgi-bin/hello.sh\n"],
    );
    const head = await ask(port, "/cgi-bin/hello.sh", { method: "HEAD" });
    assert.equal([head.status, head.body], [200, ""]);
    const lines = Buffer.from("a line\n".repeat(100000));
    const counted = await ask(port, "/cgi-bin/count.pl", { method: "POST" }, lines);
    assert.is(counted.body, `100000 lines, ${lines.length} bytes\n`);
    const none = await ask(port, "/cgi-bin/count.pl", { method: "POST" });
    assert.equal([none.status, none.body], [400, "Send something to count.\n"]);

    const { body } = await ask(
      port,
      "/cgi-bin/env.sh/a%20b/c?x=1&y=%22",
      {
        method: "PUT",
        headers: {
          ...{
            Host: "site.example:81",
            "Content-Type": "text/x",
            "X-One": ["1", "2"],
            Cookie: "a=b",
          },
          ...{ Proxy: "evil", Authorization: "Basic x", x_one: "3", SECRET: "yours" },
        },
      },
      Buffer.from("12345"),
    );
    const variables = body.trimEnd().split("\n");
    const place = variables.pop();
    assert.is(place, path.join(folder, "cgi-bin"), "the folder of the script");
    const own = variables.filter((line) => !/^(?:_|PWD|OLDPWD|SHLVL|PATH)=/.test(line));
    assert.equal(own, [
      "CONTENT_LENGTH=5",
      "CONTENT_TYPE=text/x",
      "GATEWAY_INTERFACE=CGI/1.1",
      "HTTP_COOKIE=a=b",
      "HTTP_HOST=site.example:81",
      "HTTP_SECRET=yours",
      "HTTP_X_ONE=1, 2",
      "PATH_INFO=/a b/c",
      "QUERY_STRING=x=1&y=%22",
      "REMOTE_ADDR=127.0.0.1",
      "REQUEST_METHOD=PUT",
      "SCRIPT_NAME=/cgi-bin/env.sh",
      "SERVER_NAME=site.example",
      "SERVER_PORT=81",
      "SERVER_PROTOCOL=HTTP/1.1",
      "SERVER_SOFTWARE=ringcast",
    ]);
    const echo = await ask(port, "/cgi-bin/cat.sh", { method: "POST" }, lines);
    assert.ok(echo.body === lines.toString(), "bytes come back as they went");
    // It does not read its input.
    assert.is((await ask(port, "/cgi-bin/deaf.sh", { method: "POST" }, lines)).body, "deaf\n");
    assert.is((await ask(port, "/cgi-bin/large.sh")).body.length, 5000000);
    assert.is(command.err, "");
  }),
);

cgi("Status, Location and fields are the script's; a wrong head is 502", () =>
  running({}, async (port, command) => {
    const none = await ask(port, "/cgi-bin/crlf.sh");
    assert.equal([none.status, none.headers["x-a"], none.body], [404, "1, 2", "none\n\nx"]);
    const moved = await ask(port, "/cgi-bin/moved.sh");
    assert.equal([moved.status, moved.headers.location], [302, "https://new.example/x"]);
    const so = await ask(port, "/cgi-bin/moved-so.sh");
    assert.equal(
      [so.status, so.headers.location, so.isWhole],
      [307, "https://new.example/x", true],
    );
    const hop = await ask(port, "/cgi-bin/hop.sh");
    assert.equal([hop.status, hop.body, hop.isWhole], [200, "x", true]);
    for (const name of ["empty", "headless", "blank", "bad-status", "bad-field", "endless-head"])
      assert.is((await ask(port, `/cgi-bin/${name}.sh`)).status, 502, name);
    for (const name of ["fails-early", "foreign"])
      assert.is((await ask(port, `/cgi-bin/${name}.sh`)).status, 502, name);
    assert.match(command.err, /^\/cgi-bin\/empty\.sh: the script has ended before an empty line$/m);
    const broken = await ask(port, "/cgi-bin/fails.sh");
    assert.is(broken.isWhole, false);
    await command.prints(/ringcast: request: Error: the script has ended with 3/);
    for (const [target, status] of [
      ["/cgi-bin/none.sh", 404],
      ["/cgi-bin/plain.sh", 404],
      ["/cgi-bin/", 404],
      ["/cgi-bin", 404],
      ["/cgi-bin/../cgi.mjs", 404],
      ["/cgi-bin/%2e%2e/cgi.mjs", 404],
      ["/cgi-bin/..%2fcgi.mjs", 404],
      ["/cgi-bin/hello.sh%00", 404],
      ["/cgi-bin/.", 404],
      ["/cgi-bin/hello.sh;id", 404],
      ["/cgi.mjs", 404],
    ] as const)
      assert.is((await ask(port, target)).status, status, target);
  }),
);

cgi("a script that takes too long is killed with its processes: 504, or a reset", () =>
  running({ TIMEOUT: "1000" }, async (port) => {
    const [late, broken] = await Promise.all([
      ask(port, "/cgi-bin/stays.sh"),
      ask(port, "/cgi-bin/stays-late.sh"),
    ]);
    assert.is(late.status, 504);
    assert.equal([broken.status, broken.body, broken.isWhole], [200, "begun\n", false]);
    await gone("stays");
    await gone("stays-late");
  }),
);

cgi("scripts are killed when the client leaves or the server ends, and are limited", async () => {
  await running({ PROCESSES: "2" }, async (port) => {
    const open = (target: string): Promise<http.IncomingMessage> =>
      within(
        new Promise((resolve, reject) => {
          const options = { host: "127.0.0.1", port, path: target, agent: false };
          http.get(options, resolve).on("error", reject);
        }),
        target,
      );
    const leaving = await open("/cgi-bin/leaves.sh");
    await noted("leaves");
    // Its output is read no faster than the client reads.
    const unread = await open("/cgi-bin/unread.sh");
    await noted("unread");
    const full = await ask(port, "/cgi-bin/hello.sh");
    assert.equal([full.status, full.headers["retry-after"]], [503, "1"]);
    leaving.destroy();
    await gone("leaves");
    unread.destroy();
    await gone("unread");
    await until("room", async () => (await ask(port, "/cgi-bin/hello.sh")).status === 200);
    const ended = await open("/cgi-bin/ends.sh");
    ended.on("error", () => undefined);
    await noted("ends");
  });
  await gone("ends");
});

cgi.run();
